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

/// A function is called; see [`Stimulus::user_call`](super::Stimulus::user_call).
#[derive(Clone)]
pub struct UserCall {
    function: String,
    args: Vec<Arg>,
    ret: i64,
    real: Option<Calling>,
}

/// A probe is hit; see [`Stimulus::usdt`](super::Stimulus::usdt).
#[derive(Clone)]
pub struct UsdtHit {
    provider: String,
    name: String,
    args: Vec<Arg>,
    real: Option<Calling>,
}

impl UserCall {
    pub(super) fn new(function: String) -> Self {
        Self { function, args: Vec::new(), ret: 0, real: None }
    }

    pub(super) fn strlen(text: String) -> Self {
        let len = text.len() as i64;
        let call = Self::new("c:strlen".to_owned()).text(text.clone()).ret(len);
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

    /// What the function returns.
    #[must_use]
    pub fn ret(mut self, value: i64) -> Self {
        self.ret = value;
        self
    }

    /// What makes the call on a kernel, in this process, and its result.
    #[must_use]
    pub fn by<F>(mut self, call: F) -> Self
    where
        F: Fn() -> Result<i64, Error> + Send + Sync + 'static,
    {
        self.real = Some(Arc::new(call));
        self
    }
}

impl UsdtHit {
    pub(super) fn new(provider: String, name: String) -> Self {
        Self { provider, name, args: Vec::new(), real: None }
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

    /// What comes by the probe on a kernel, in this process.
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
        sim.advance(STEP_NS)?;
        let entry = Occasion { args, ..Occasion::default() };
        sim.happen(Point::Uprobe(self.function.clone()), &entry)?;
        sim.advance(STEP_NS)?;
        let exit = Occasion { ret: Some(self.ret), ..Occasion::default() };
        sim.happen(Point::Uretprobe(self.function.clone()), &exit)?;
        Ok(Stimulated { ret: self.ret, ..Stimulated::default() })
    }

    /// Without a closure, `c:getenv` and `c:strlen` with a text are called; nothing else can be called safely by its name.
    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        match (self.real.as_ref(), self.function.as_str(), self.args.as_slice()) {
            (None, "c:getenv", [Arg::Text(name)]) if !name.is_empty() && !name.contains(['=', '\0']) => {
                Ok(Stimulated::returning(std::env::var_os(name).is_some().into()))
            }
            (None, "c:strlen", [Arg::Text(text)]) => Ok(Stimulated::returning(real::strlen(text)?)),
            (real, function, _) => called(real, function),
        }
    }
}

impl Action for UsdtHit {
    fn simulate(&self, sim: &mut Simulation<'_>) -> Result<Stimulated, Error> {
        let args = placed(sim, &self.args)?;
        sim.advance(STEP_NS)?;
        let point = Point::Usdt(self.provider.clone(), self.name.clone());
        sim.happen(point, &Occasion { args, ..Occasion::default() })?;
        Ok(Stimulated::default())
    }

    fn perform(&self, _: &mut Real<'_>) -> Result<Stimulated, Error> {
        called(self.real.as_ref(), &format!("{}:{}", self.provider, self.name))
    }
}

fn called(by: Option<&Calling>, what: &str) -> Result<Stimulated, Error> {
    let Some(real) = by else {
        return Err(Error::Invalid(format!(
            "nothing says how '{what}' is come by on a kernel: give the stimulus a closure with `by()`"
        )));
    };
    Ok(Stimulated { ret: real()?, ..Stimulated::default() })
}

impl fmt::Debug for UserCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("UserCall");
        s.field("function", &self.function).field("args", &self.args).field("ret", &self.ret);
        s.finish_non_exhaustive()
    }
}

impl fmt::Debug for UsdtHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut s = f.debug_struct("UsdtHit");
        s.field("provider", &self.provider).field("name", &self.name).field("args", &self.args);
        s.finish_non_exhaustive()
    }
}
