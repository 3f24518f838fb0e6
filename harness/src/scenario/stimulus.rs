//! `[[stimulus]]`: what really happens on a kernel, and what the simulator makes of it.

use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::kernel::{Placed, at};
use crate::stimulus::{Action, Stimulus};
use crate::value::{Value, hex_to_bytes};

/// The task that the stimuli are acts of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ActorFile {
    /// Its name, `actor` if nothing is said; a kernel keeps 15 bytes of it.
    pub comm: Spanned<String>,
}

impl Default for ActorFile {
    fn default() -> Self {
        Self { comm: Spanned::new(0..0, "actor".to_owned()) }
    }
}

/// Something that happens: one of the built-in stimuli ([`Stimulus`]), with its options.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StimulusFile {
    /// Which: `read_file`, `open_missing`, `write_file`, `sync`, `read_disk`, `fork`, `exec`, `thread`, `sleep`, `busy`, `kill`,
    /// `kill_nobody`, `tcp`, `tcp6`, `udp`, `udp6`, `page_fault`, `user_call`, `strlen`, `usdt`, `packet`.
    #[serde(rename = "do")]
    pub what: Spanned<String>,
    /// The file of `read_file`, `open_missing`, `write_file`.
    pub path: Option<Spanned<String>>,
    /// Of `read_file`, what the file holds on the simulator.
    pub holding: Option<Spanned<String>>,
    /// What `write_file` writes, what is sent by `tcp`, `udp` and their like, what `strlen` measures.
    pub text: Option<Spanned<String>>,
    /// In place of `text`, or the frame of `packet`: hexadecimal bytes.
    pub hex: Option<Spanned<String>>,
    /// How much `read_disk` reads.
    pub bytes: Option<Spanned<u32>>,
    /// The status that the child of `fork` exits with.
    pub status: Option<Spanned<u8>>,
    /// The program that `exec` runs; one that exits with 0 otherwise.
    pub program: Option<Spanned<String>>,
    /// The arguments behind the program's name of `exec`; those of `user_call` and `usdt`, numbers or texts.
    pub args: Option<Spanned<Vec<Value>>>,
    /// How long `sleep` and `busy` take, in nanoseconds.
    pub ns: Option<Spanned<u64>>,
    /// The number of the signal of `kill` and `kill_nobody`.
    pub signal: Option<Spanned<u32>>,
    /// Of `tcp` and `tcp6`: nobody listens.
    pub refused: Option<Spanned<bool>>,
    /// What `user_call` calls: `c:getenv`.
    pub function: Option<Spanned<String>>,
    /// What the function of `user_call` returns on the simulator.
    pub ret: Option<Spanned<i64>>,
    /// The probe of `usdt`: its provider.
    pub provider: Option<Spanned<String>>,
    /// The probe of `usdt`: its name.
    pub name: Option<Spanned<String>>,
    /// The device that `packet` comes through on the simulator.
    pub device: Option<Spanned<String>>,
    /// How often it happens.
    pub times: Option<Spanned<u32>>,
    /// Nanoseconds since what was before; a kernel waits for so long.
    #[serde(default)]
    pub after: u64,
    /// Only on this tier: `simulator` or `kernel`.
    pub tier: Option<Spanned<String>>,
}

/// An action that the acting thread can be handed.
pub(super) type Act = Box<dyn Action + Send>;

/// Each stimulus with the options that it knows.
const KNOWN: &[(&str, &[&str])] = &[
    ("read_file", &["path", "holding"]),
    ("open_missing", &["path"]),
    ("write_file", &["path", "text", "hex"]),
    ("sync", &[]),
    ("read_disk", &["bytes"]),
    ("fork", &["status"]),
    ("exec", &["program", "args"]),
    ("thread", &[]),
    ("sleep", &["ns"]),
    ("busy", &["ns"]),
    ("kill", &["signal"]),
    ("kill_nobody", &["signal"]),
    ("tcp", &["refused", "text", "hex"]),
    ("tcp6", &["refused", "text", "hex"]),
    ("udp", &["text", "hex"]),
    ("udp6", &["text", "hex"]),
    ("page_fault", &[]),
    ("user_call", &["function", "args", "ret"]),
    ("strlen", &["text"]),
    ("usdt", &["provider", "name", "args"]),
    ("packet", &["hex", "device"]),
];

impl StimulusFile {
    /// The action that the table tells of.
    pub(super) fn action(&self) -> Result<Act, Placed> {
        let what = self.what.get_ref().as_str();
        self.check(what)?;
        Ok(match what {
            "read_file" => {
                let read = Stimulus::read_file(self.needed("path", &self.path)?);
                match &self.holding {
                    Some(text) => Box::new(read.holding(text.get_ref().as_str())),
                    None => Box::new(read),
                }
            }
            "open_missing" => Box::new(Stimulus::open_missing(self.needed("path", &self.path)?)),
            "write_file" => {
                let bytes = self.payload()?.unwrap_or_default();
                Box::new(Stimulus::write_file(self.needed("path", &self.path)?, bytes))
            }
            "read_disk" => Box::new(Stimulus::read_disk(*self.needed("bytes", &self.bytes)?)),
            "sync" => Box::new(Stimulus::sync()),
            "fork" => Box::new(Stimulus::fork().status(self.status.as_ref().map_or(0, |s| *s.get_ref()))),
            "exec" => self.exec()?,
            "thread" => Box::new(Stimulus::thread()),
            "sleep" => Box::new(Stimulus::sleep(Duration::from_nanos(*self.needed("ns", &self.ns)?))),
            "busy" => Box::new(Stimulus::busy(Duration::from_nanos(*self.needed("ns", &self.ns)?))),
            "kill" => Box::new(Stimulus::kill(*self.needed("signal", &self.signal)?)),
            "kill_nobody" => Box::new(Stimulus::kill_nobody(*self.needed("signal", &self.signal)?)),
            "tcp" | "tcp6" => {
                let mut tcp = if what == "tcp" { Stimulus::tcp() } else { Stimulus::tcp6() };
                if self.refused.as_ref().is_some_and(|r| *r.get_ref()) {
                    tcp = tcp.refused();
                }
                match self.payload()? {
                    Some(bytes) => Box::new(tcp.sending(bytes)),
                    None => Box::new(tcp),
                }
            }
            "udp" | "udp6" => {
                let udp = if what == "udp" { Stimulus::udp() } else { Stimulus::udp6() };
                match self.payload()? {
                    Some(bytes) => Box::new(udp.sending(bytes)),
                    None => Box::new(udp),
                }
            }
            "page_fault" => Box::new(Stimulus::page_fault()),
            "user_call" => {
                let mut call = Stimulus::user_call(self.needed("function", &self.function)?.as_str());
                for arg in self.args()? {
                    call = match arg {
                        Arg::Text(text) => call.text(text),
                        Arg::Number(n) => call.arg(n),
                    };
                }
                Box::new(call.ret(self.ret.as_ref().map_or(0, |r| *r.get_ref())))
            }
            "strlen" => Box::new(Stimulus::strlen(self.needed("text", &self.text)?.as_str())),
            "usdt" => {
                let (provider, name) =
                    (self.needed("provider", &self.provider)?, self.needed("name", &self.name)?);
                let mut usdt = Stimulus::usdt(provider.as_str(), name.as_str());
                for arg in self.args()? {
                    usdt = match arg {
                        Arg::Text(text) => usdt.text(text),
                        Arg::Number(n) => usdt.arg(n),
                    };
                }
                Box::new(usdt)
            }
            _ => {
                self.needed("hex", &self.hex)?;
                let packet = Stimulus::packet(self.payload()?.unwrap_or_default());
                match &self.device {
                    Some(device) => Box::new(packet.device(device.get_ref().as_str())),
                    None => Box::new(packet),
                }
            }
        })
    }

    /// That there is such a stimulus, and that it knows the options that are given.
    fn check(&self, what: &str) -> Result<(), Placed> {
        let Some((_, known)) = KNOWN.iter().find(|k| k.0 == what) else {
            let names: Vec<_> = KNOWN.iter().map(|k| k.0).collect();
            return Err(at(&self.what)(format!(
                "there is no stimulus '{what}'; there are: {}",
                names.join(", ")
            )));
        };
        fn place<T>(option: &Option<Spanned<T>>) -> Option<std::ops::Range<usize>> {
            option.as_ref().map(Spanned::span)
        }
        let given = [
            ("path", place(&self.path)),
            ("holding", place(&self.holding)),
            ("text", place(&self.text)),
            ("hex", place(&self.hex)),
            ("bytes", place(&self.bytes)),
            ("status", place(&self.status)),
            ("program", place(&self.program)),
            ("args", place(&self.args)),
            ("ns", place(&self.ns)),
            ("signal", place(&self.signal)),
            ("refused", place(&self.refused)),
            ("function", place(&self.function)),
            ("ret", place(&self.ret)),
            ("provider", place(&self.provider)),
            ("name", place(&self.name)),
            ("device", place(&self.device)),
        ];
        let surplus = given.into_iter().find(|(name, place)| place.is_some() && !known.contains(name));
        match surplus {
            Some((name, place)) => Err((place, format!("'{name}' says nothing about '{what}'"))),
            None => Ok(()),
        }
    }

    fn needed<'a, T>(&self, name: &str, option: &'a Option<Spanned<T>>) -> Result<&'a T, Placed> {
        let missing = || at(&self.what)(format!("'{}' needs '{name}'", self.what.get_ref()));
        option.as_ref().map(Spanned::get_ref).ok_or_else(missing)
    }

    /// `text` or `hex`.
    fn payload(&self) -> Result<Option<Vec<u8>>, Placed> {
        match (&self.text, &self.hex) {
            (None, None) => Ok(None),
            (Some(text), None) => Ok(Some(text.get_ref().clone().into_bytes())),
            (None, Some(hex)) => match hex_to_bytes(hex.get_ref()) {
                Some(bytes) => Ok(Some(bytes)),
                None => Err(at(hex)("this is not hexadecimal".to_owned())),
            },
            (Some(_), Some(hex)) => Err(at(hex)("there is 'text' already: say one of both".to_owned())),
        }
    }

    fn exec(&self) -> Result<Act, Placed> {
        let mut exec = Stimulus::exec();
        if let Some(program) = &self.program {
            exec = exec.program(program.get_ref());
        }
        for arg in self.args()? {
            exec = match arg {
                Arg::Text(text) => exec.arg(text),
                Arg::Number(n) => exec.arg(n.to_string()),
            };
        }
        Ok(Box::new(exec))
    }

    fn args(&self) -> Result<Vec<Arg>, Placed> {
        let Some(args) = &self.args else { return Ok(Vec::new()) };
        let arg = |value: &Value| match value {
            Value::Text(text) => Ok(Arg::Text(text.clone())),
            Value::Int(n) => Ok(Arg::Number(n.cast_unsigned())),
            Value::Uint(n) => Ok(Arg::Number(*n)),
            _ => Err(at(args)("an argument is a number or a text".to_owned())),
        };
        args.get_ref().iter().map(arg).collect()
    }
}

enum Arg {
    Text(String),
    Number(u64),
}
