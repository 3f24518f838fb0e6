//! `redact = [..]`: what is replaced in what is printed.

use serde::Deserialize;

use super::file::Scenario;
use super::kernel::{Placed, at};
use crate::redact::Redaction;

/// What is replaced: a kind that is known by the names of members, or what a rule says.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum RedactFile {
    /// `pids`, `times`, `cpus`, `comms`, `ports`, `inodes`, `fds`, `addresses`, or `all` of them; see [`Redaction`].
    Kind(String),
    /// A rule.
    Rule(RedactRule),
}

/// Members of a name, or what a path leads to, and what is put in their place.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RedactRule {
    /// Every member of this name.
    pub member: Option<String>,
    /// What a path leads to ([`Redaction::path`]): `.key.id`, `.value[0]`.
    pub path: Option<String>,
    /// This text.
    pub text: Option<String>,
    /// Or a number of this kind: `[request 1]`, the same wherever the value is the same.
    pub kind: Option<String>,
}

/// The redaction of a scenario, if it has one.
pub(super) fn redaction(scenario: &Scenario) -> Result<Option<Redaction>, Placed> {
    let mut all = None;
    for spanned in &scenario.redact {
        let before = all.take().unwrap_or_default();
        all = Some(one(before, spanned.get_ref()).map_err(at(spanned))?);
    }
    Ok(all)
}

fn one(r: Redaction, file: &RedactFile) -> Result<Redaction, String> {
    let rule = match file {
        RedactFile::Rule(rule) => rule,
        RedactFile::Kind(kind) => {
            return Ok(match kind.as_str() {
                "pids" => r.pids(),
                "times" => r.times(),
                "cpus" => r.cpus(),
                "comms" => r.comms(),
                "ports" => r.ports(),
                "inodes" => r.inodes(),
                "fds" => r.fds(),
                "addresses" => r.addresses(),
                "all" => r.pids().times().cpus().comms().ports().inodes().fds().addresses(),
                other => {
                    return Err(format!(
                        "nothing of the kind '{other}' is known; there are pids, times, cpus, comms, ports, inodes, \
                         fds, addresses and all, and rules: {{ member = \"..\", text = \"..\" }}"
                    ));
                }
            });
        }
    };
    let path = match (&rule.member, &rule.path) {
        (Some(member), None) => format!(".**.{member}"),
        (None, Some(path)) => path.clone(),
        _ => return Err("a rule has either 'member' or 'path'".to_owned()),
    };
    match (&rule.text, &rule.kind) {
        (Some(text), None) => Ok(r.path(&path, text.as_str())),
        (None, Some(kind)) => Ok(r.numbered(&path, kind.as_str())),
        _ => Err("a rule has either 'text' or 'kind'".to_owned()),
    }
}
