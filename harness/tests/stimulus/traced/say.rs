//! What a point tells, as text that is the same on both tiers.

use std::collections::BTreeMap;

use super::look::{Bits, Look, Place, Plan, READ, RESULT, Value};
use super::meaning::Meaning;

/// What a program has told, taken apart.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) kind: u32,
    pub(super) number: usize,
    pub(crate) pid: u32,
    words: [u64; RESULT + 1],
    done: u32,
    read: Vec<u8>,
    record: Vec<u8>,
}

impl Told {
    /// As the fixture's `struct point`.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let word = |i: usize| u64::from_le_bytes(bytes[16 + 8 * i..24 + 8 * i].try_into().unwrap());
        let (read, record) = bytes[80..].split_at(super::look::STEPS * READ);
        Self {
            kind: u32_at(0),
            number: u32_at(4) as usize,
            pid: u32_at(8),
            words: std::array::from_fn(word),
            done: u32_at(72),
            read: read.to_vec(),
            record: record.to_vec(),
        }
    }

    /// What was returned.
    pub(super) fn result(&self) -> u64 {
        self.words[RESULT]
    }

    /// A number in a tracepoint's record.
    pub(super) fn in_record(&self, at: usize, len: usize) -> u64 {
        number(&self.record[at..at + len])
    }

    /// The bytes of a value; `None` if they could not be read.
    fn bytes(&self, place: &Place) -> Option<Vec<u8>> {
        match place {
            Place::Word(i) => Some(self.words[*i].to_le_bytes().to_vec()),
            Place::Read(i) => (self.done >> i & 1 == 1).then(|| self.read[i * READ..(i + 1) * READ].to_vec()),
            Place::Record(at, len) => Some(self.record[*at..at + len].to_vec()),
        }
    }
}

/// What the numbers of a run are called that differ between runs.
#[derive(Clone, Default, Debug)]
pub(crate) struct Names {
    pub(super) actor: u32,
    pub(super) process: u32,
    pub(super) child: Option<u32>,
    pub(super) comm: String,
    /// That of the process's first thread.
    pub(super) process_comm: String,
    pub(super) fds: Vec<u64>,
    pub(super) ports: Vec<u64>,
    /// The system calls that there are, by number.
    pub(super) calls: BTreeMap<u64, (String, Plan)>,
}

/// Its place in a list, where it is put if it is new.
fn place(list: &mut Vec<u64>, value: u64) -> usize {
    list.iter().position(|v| *v == value).unwrap_or_else(|| {
        list.push(value);
        list.len() - 1
    })
}

impl Names {
    /// All values of a plan by name, those that are pointed at too.
    pub(crate) fn all(&mut self, plan: &Plan, told: &Told) -> Vec<(String, String)> {
        let mut all: Vec<(String, String)> = Vec::new();
        for (i, value) in plan.values.iter().enumerate() {
            // What is read or written is as long as the number behind it says.
            let next = plan.values.get(i + 1).filter(|v| ["count", "len", "size"].contains(&v.name.as_str()));
            let room = next.and_then(|v| told.bytes(&v.place)).map_or(READ, |b| number(&b) as usize);
            match &value.look {
                Look::Words => all.extend(self.words(value, told)),
                Look::Result => {
                    let call = self.call(told);
                    let bits = Bits { shift: 0, bits: 64, signed: true };
                    let meaning = call.as_ref().map_or(Meaning::Number, |c| Meaning::of_result(&c.0));
                    let raw = told.bytes(&value.place).map_or(0, |b| number(&b));
                    let name = call.map_or_else(String::new, |c| c.0);
                    all.push((format!("{} of {name}", value.name), self.number(raw, bits, meaning)));
                }
                _ => self.value(&value.name, value, told, room, &mut all),
            }
        }
        all
    }

    /// The system call of a record of `raw_syscalls`.
    fn call(&self, told: &Told) -> Option<(String, Plan)> {
        self.calls.get(&told.in_record(8, 8)).cloned()
    }

    /// The arguments that a record of `raw_syscalls` has, as many as the call takes.
    fn words(&mut self, value: &Value, told: &Told) -> Vec<(String, String)> {
        let Place::Record(at, _) = value.place else { return Vec::new() };
        let Some((_, plan)) = self.call(told) else {
            return vec![(value.name.clone(), "unknown".to_owned())];
        };
        let word = |i: usize| told.in_record(at + 8 * i, 8);
        let args = plan.values.iter().enumerate();
        args.map(|(i, arg)| {
            let said = match &arg.look {
                Look::Number(bits, meaning) => self.number(word(i), *bits, *meaning),
                _ => none_or_error(word(i)).unwrap_or_else(|| "some".to_owned()),
            };
            (format!("{}.{}", value.name, arg.name), said)
        })
        .collect()
    }

    fn value(
        &mut self,
        name: &str,
        value: &Value,
        told: &Told,
        room: usize,
        all: &mut Vec<(String, String)>,
    ) {
        let bytes = told.bytes(&value.place);
        let said = match (&value.look, bytes.as_deref()) {
            (_, None) => "unreadable".to_owned(),
            (Look::Number(_, Meaning::Address), Some(bytes)) => self.address(bytes),
            (Look::Number(bits, meaning), Some(bytes)) => self.number(number(bytes), *bits, *meaning),
            (Look::Text, Some(bytes)) => self.text(bytes.get(..room).unwrap_or(bytes)),
            (Look::Bytes, Some(bytes)) => {
                let len = value.len.unwrap_or(bytes.len()).min(bytes.len());
                bytes[..len].iter().map(|b| format!("{b:02x}")).collect()
            }
            (Look::Located, Some(bytes)) => {
                let word = number(bytes) as usize;
                let (at, len) = (word & 0xffff, word >> 16);
                told.record.get(at..at + len).map_or_else(|| "beyond".to_owned(), |text| self.text(text))
            }
            (_, Some(bytes)) => none_or_error(number(bytes)).unwrap_or_else(|| "some".to_owned()),
        };
        let is_there = said == "some";
        all.push((name.to_owned(), said));
        if let Look::Pointer(fields) = &value.look
            && is_there
        {
            for field in fields {
                self.value(&format!("{name}->{}", field.name), field, told, room, all);
            }
        }
    }

    /// A number, by its meaning.
    pub(super) fn number(&mut self, raw: u64, bits: Bits, meaning: Meaning) -> String {
        let unused = 64u32.saturating_sub(bits.bits);
        let cut = (raw >> bits.shift).checked_shl(unused).unwrap_or(0);
        let value = cut.checked_shr(unused).unwrap_or(0);
        let signed = if bits.signed { cut.cast_signed() >> unused.min(63) } else { value.cast_signed() };
        let negative = bits.signed && signed < 0;
        match meaning {
            Meaning::Pid if value == u64::from(self.actor) => "actor".to_owned(),
            Meaning::Pid if value == u64::from(self.process) => "process".to_owned(),
            Meaning::Pid if Some(value) == self.child.map(u64::from) => "child".to_owned(),
            Meaning::Fd if value as u32 == u32::MAX => "-1".to_owned(),
            Meaning::Fd if !negative => format!("fd {}", place(&mut self.fds, value)),
            Meaning::Port => self.port(value as u16),
            Meaning::NetPort => self.port((value as u16).swap_bytes()),
            Meaning::Some_ => none_or_error(value).unwrap_or_else(|| "some".to_owned()),
            _ if bits.signed => signed.to_string(),
            _ if value > 0xffff => format!("{value:#x}"),
            _ => value.to_string(),
        }
    }

    /// Those below 1024 are not chosen by the kernel.
    fn port(&mut self, port: u16) -> String {
        if port < 1024 { port.to_string() } else { format!("port {}", place(&mut self.ports, port.into())) }
    }

    fn text(&self, bytes: &[u8]) -> String {
        let text = bytes.split(|b| *b == 0).next().unwrap_or_default();
        let text = String::from_utf8_lossy(text);
        if text.is_empty() {
            "\"\"".to_owned()
        } else if text == self.comm {
            "comm".to_owned()
        } else if text == self.process_comm {
            "process comm".to_owned()
        } else {
            format!("{text:?}")
        }
    }

    fn address(&mut self, bytes: &[u8]) -> String {
        let port = |n: &mut Self| n.port(u16::from_be_bytes([bytes[2], bytes[3]]));
        match u16::from_le_bytes([bytes[0], bytes[1]]) {
            2 => format!("{}.{}.{}.{}:{}", bytes[4], bytes[5], bytes[6], bytes[7], port(self)),
            10 => format!(
                "[{}]:{}",
                bytes[8..24].iter().map(|b| format!("{b:02x}")).collect::<String>(),
                port(self)
            ),
            family => format!("family {family}"),
        }
    }
}

/// A pointer that is none, or holds an error.
fn none_or_error(pointer: u64) -> Option<String> {
    match pointer.cast_signed() {
        0 => Some("none".to_owned()),
        // No page of a process begins there either.
        number @ -4095..4096 => Some(number.to_string()),
        _ => None,
    }
}

fn number(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let len = bytes.len().min(8);
    word[..len].copy_from_slice(&bytes[..len]);
    u64::from_le_bytes(word)
}
