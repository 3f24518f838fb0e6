//! Calls of user-space functions, and statically defined probes.

use std::fmt;
use std::sync::Arc;

use super::simulation::{Occasion, STEP_NS, Simulation};
use super::{Action, Real, Stimulated, real};
use crate::bpf::Point;
use crate::error::Error;

/// An argument: a number, or text in the process's memory.
#[derive(Clone, Debug)]
enum Arg {
    Number(u64),
    Text(String),
}

/// What is really called.
type Calling = Arc<dyn Fn() -> Result<i64, Error> + Send + Sync>;

/// What is come by.
#[derive(Clone, Debug)]
enum Place {
    /// The entry and the return of a function.
    Function(String),
    /// A statically defined probe: provider and name.
    Usdt(String, String),
}

/// Code of a process that is probed: a function that is called ([`Stimulus::user_call`](super::Stimulus::user_call)), or a
/// statically defined probe ([`Stimulus::usdt`](super::Stimulus::usdt)).
#[derive(Clone)]
pub struct UserCall {
    place: Place,
    args: Vec<Arg>,
    ret: i64,
    real: Option<Calling>,
}

impl UserCall {
    pub(super) fn function(name: String) -> Self {
        Self::at(Place::Function(name))
    }

    pub(super) fn usdt(provider: String, name: String) -> Self {
        Self::at(Place::Usdt(provider, name))
    }

    fn at(place: Place) -> Self {
        Self { place, args: Vec::new(), ret: 0, real: None }
    }

    pub(super) fn strlen(text: String) -> Self {
        let len = text.len() as i64;
        let call = Self::function("c:strlen".to_owned()).text(text.clone()).ret(len);
        call.by(move || real::strlen(&text))
    }

    /// The next argument, a number.
    #[must_use]
    pub fn arg(mut self, value: u64) -> Self {
        self.args.push(Arg::Number(value));
        self
    }

    /// The next argument, a pointer to text.
    #[must_use]
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.args.push(Arg::Text(text.into()));
        self
    }

    /// What the function returns; 0 if nothing is said.
    #[must_use]
    pub fn ret(mut self, value: i64) -> Self {
        self.ret = value;
        self
    }

    /// What calls the function or comes by the probe on a kernel, in this process, and its result.
    #[must_use]
    pub fn by<F>(mut self, call: F) -> Self
    where
        F: Fn() -> Result<i64, Error> + Send + Sync + 'static,
    {
        self.real = Some(Arc::new(call));
        self
    }
}

fn placed(sim: &mut Simulation<'_>, args: &[Arg]) -> Result<Vec<u64>, Error> {
    let place = |arg: &Arg| match arg {
        Arg::Number(n) => Ok(*n),
        Arg::Text(text) => sim.user_text(text),
    };
    args.iter().map(place).collect()
}

impl Action for UserCall {
    /// `ret` is what the function has returned.
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let args = placed(sim, &self.args)?;
        let entry = Occasion { args, ..Occasion::default() };
        sim.advance(STEP_NS)?;
        match &self.place {
            Place::Function(name) => {
                sim.happen(Point::Uprobe(name.clone()), &entry)?;
                sim.advance(STEP_NS)?;
                let exit = Occasion { ret: Some(self.ret), ..Occasion::default() };
                sim.happen(Point::Uretprobe(name.clone()), &exit)?;
            }
            Place::Usdt(provider, name) => {
                sim.happen(Point::Usdt(provider.clone(), name.clone()), &entry)?;
            }
        }
        Ok(Stimulated::returning(self.ret))
    }

    /// Without a closure, `c:getenv` and `c:strlen` with a text are called; nothing else can be called safely by its name.
    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        if let Some(real) = &self.real {
            return Ok(Stimulated::returning(real()?));
        }
        let name = match &self.place {
            Place::Function(name) => name.clone(),
            Place::Usdt(provider, name) => format!("{provider}:{name}"),
        };
        match (&self.place, name.as_str(), self.args.as_slice()) {
            (Place::Function(_), "c:getenv", [Arg::Text(name)])
                if !name.is_empty() && !name.contains(['=', '\0']) =>
            {
                Ok(Stimulated::returning(std::env::var_os(name).is_some().into()))
            }
            (Place::Function(_), "c:strlen", [Arg::Text(text)]) => {
                Ok(Stimulated::returning(real::strlen(text)?))
            }
            _ => Err(Error::Invalid(format!(
                "nothing says how '{name}' is come by on a kernel: give the stimulus a closure with `by()`"
            ))),
        }
    }
}

impl fmt::Debug for UserCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("UserCall");
        s.field("place", &self.place).field("args", &self.args).field("ret", &self.ret);
        s.finish_non_exhaustive()
    }
}
