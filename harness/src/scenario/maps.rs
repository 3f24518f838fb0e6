//! `[maps]`: what is in maps before anything happens.

use serde::Deserialize;
use toml::Spanned;

use super::actor::Actor;
use super::file::Scenario;
use super::kernel::{Placed, at};
use crate::bpf::Bpf;
use crate::value::Value;

/// An element of a map.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ElementFile {
    /// Its key, or the index in an array: a number, text, or a table of a structure's members. `$actor.pid` and
    /// `$actor.tgid` are numbers of the task that the stimuli are acts of. Queues and stacks have none.
    pub key: Option<Spanned<Value>>,
    /// Its value, as the key; a list of one for each CPU in maps that have them.
    pub value: Spanned<Value>,
}

/// Fills the maps.
pub(super) fn fill(scenario: &Scenario, actor: &Actor, bpf: &mut Bpf) -> Result<(), Placed> {
    for (map, elements) in &scenario.maps {
        for spanned in elements {
            let element = spanned.get_ref();
            let typed = |v: &Spanned<Value>| actor.value(v.get_ref()).map_err(at(v));
            let (key, value) = (element.key.as_ref().map(typed).transpose()?, typed(&element.value)?);
            let mut map = bpf.map(map).map_err(|e| at(spanned)(e.to_string()))?;
            let filled = match key {
                Some(key) => map.update(key, value),
                None => map.push(value),
            };
            filled.map_err(|e| at(spanned)(e.to_string()))?;
        }
    }
    Ok(())
}
