//! What host and guest say to each other: frames of `kind (u8), length (u32, little endian), payload`.
//!
//! This file is compiled twice, into this library and into the guest's init (`guest/main.rs`), so it uses nothing but
//! the standard library and there is one description of the format. Host and guest are always built together; the
//! version in [`FromGuest::Hello`] only guards against a stale snapshot or a foreign initramfs.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

/// Changes whenever a message changes.
pub(super) const VERSION: u32 = 4;
/// Bytes of file or output that one frame carries at most.
pub(super) const CHUNK: usize = 64 * 1024;
/// Bytes of a request or a reply that one frame carries at most.
const PIECE: usize = 1 << 20;
/// A longer payload is refused before anything is allocated for it.
pub(super) const MAX_PAYLOAD: usize = 4 << 20;
/// The virtio-serial port's name, seen in the guest as `/sys/class/virtio-ports/*/name`.
pub(super) const PORT: &str = "bpf-vm.agent";
/// How the agent's last line on the console begins, when it can say nothing on the channel any more.
pub(super) const LAST_WORDS: &str = "bpf-vm agent gives up: ";
/// On the kernel's command line when the channel is the second serial line.
pub(super) const SERIAL_LINK: &str = "bpf_vm.link=serial";
/// Where the guest finds the kernel modules it is to load, named so that their order is the order of loading.
pub(super) const MODULES_DIR: &str = "/.bpf-vm/modules";
/// The kernel's configuration, where it is known; `/boot/config-V`, as distributions have it, is a link to it.
pub(super) const CONFIG: &str = "/.bpf-vm/config";
/// The guest's results folder: what a program leaves here comes back to the host.
pub(super) const RESULTS_DIR: &str = "/.bpf-vm/results";

/// Where a program in the guest reaches the host's service: one request and its reply per connection, each a length
/// (u32, little endian) and that many bytes.
pub(super) const HOST_SOCKET: &str = "/.bpf-vm/host";
/// Names that socket to the program.
pub(super) const HOST_SOCKET_VARIABLE: &str = "BPF_VM_HOST_SOCKET";
/// A longer request or reply of the service is refused.
pub(super) const MAX_SERVICE: usize = 64 << 20;

/// What a program's standard input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Input {
    /// Nothing.
    #[default]
    Null,
    /// What the host sends, up to an empty message.
    Pipe,
    /// A terminal of this many rows and columns, which is the program's output as well.
    Terminal(u16, u16),
}

/// The program to run in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Command {
    /// The program's path, then its arguments.
    pub argv: Vec<Vec<u8>>,
    /// The whole environment.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// The working directory; made when it is missing.
    pub cwd: Vec<u8>,
    /// Power off after this many seconds even if the host has vanished.
    pub lifetime_secs: u64,
    /// Its standard input.
    pub input: Input,
    /// Whether the host answers requests.
    pub service: bool,
}

/// A piece of a file: the first piece has offset 0 and truncates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FilePiece {
    /// To the guest: absolute. From the guest: below the results folder.
    pub path: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// Where `data` goes.
    pub offset: u64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// Messages of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ToGuest {
    /// Set the wall clock (seconds and nanoseconds since the epoch).
    Time(u64, u32),
    /// The guest was restored from a snapshot: set the clock, mix these bytes into its random numbers, say hello again.
    Resume(u64, u32, Vec<u8>),
    /// Put a file.
    File(FilePiece),
    /// Run this; once per life of a guest.
    Run(Command),
    /// Send this signal to the program's process group.
    Signal(u32),
    /// Say so when everything up to here is done.
    Sync,
    /// A piece of the reply to a request, and whether it is the last.
    Answer(u32, bool, Vec<u8>),
    /// The program's standard input; nothing is its end.
    Stdin(Vec<u8>),
    /// The terminal has this many rows and columns now.
    Resize(u16, u16),
    /// Nobody reads the program's standard output (1) or standard error (2) any more: the program is to notice.
    Close(u32),
}

/// Messages of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FromGuest {
    /// The agent is ready: its protocol version, `uname -r`.
    Hello(u32, Vec<u8>),
    /// The program's standard output.
    Stdout(Vec<u8>),
    /// The program's standard error.
    Stderr(Vec<u8>),
    /// Something about the guest that the user should know, such as a file system that it does not have.
    Note(Vec<u8>),
    /// A kernel module that does not load, by its name in [`MODULES_DIR`], and why.
    Unloaded(Vec<u8>, Vec<u8>),
    /// The program could not be started: errno and what was tried.
    StartFailed(u32, Vec<u8>),
    /// The program has ended: 0–255, or 128 + n for signal n.
    Exit(u32),
    /// A file of the results folder.
    Result(FilePiece),
    /// Nothing more will come: the sentinel without which a run is not complete.
    Done,
    /// Everything up to [`ToGuest::Sync`] is done.
    Synced,
    /// A piece of a request to the host's service, by a number of the guest's choice, and whether it is the last.
    Ask(u32, bool, Vec<u8>),
    /// A piece of standard input was taken.
    Taken,
}

impl ToGuest {
    /// Writes the message as one frame.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut out = Payload::default();
        let kind = match self {
            Self::Time(secs, nanos) => {
                out.u64(*secs);
                out.u32(*nanos);
                1
            }
            Self::File(piece) => {
                out.piece(piece);
                2
            }
            Self::Run(command) => {
                out.u32(command.argv.len() as u32);
                command.argv.iter().for_each(|arg| out.bytes(arg));
                out.u32(command.env.len() as u32);
                for (key, value) in &command.env {
                    out.bytes(key);
                    out.bytes(value);
                }
                out.bytes(&command.cwd);
                out.u64(command.lifetime_secs);
                let (kind, rows, columns) = match command.input {
                    Input::Null => (0, 0, 0),
                    Input::Pipe => (1, 0, 0),
                    Input::Terminal(rows, columns) => (2, rows, columns),
                };
                [kind, u32::from(rows), u32::from(columns), u32::from(command.service)]
                    .into_iter()
                    .for_each(|word| out.u32(word));
                3
            }
            Self::Signal(signal) => {
                out.u32(*signal);
                4
            }
            Self::Resume(secs, nanos, seed) => {
                out.u64(*secs);
                out.u32(*nanos);
                out.bytes(seed);
                5
            }
            Self::Sync => 6,
            Self::Answer(id, last, data) => {
                out.part(*id, *last, data);
                7
            }
            Self::Stdin(data) => {
                out.bytes(data);
                8
            }
            Self::Resize(rows, columns) => {
                out.u32(u32::from(*rows));
                out.u32(u32::from(*columns));
                9
            }
            Self::Close(stream) => {
                out.u32(*stream);
                10
            }
        };
        write_frame(to, kind, &out.0)
    }

    /// Reads one message; `None` when the stream ends between frames.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let Some((kind, payload)) = read_frame(from)? else { return Ok(None) };
        let mut fields = Fields(&payload);
        let message = match kind {
            1 => Self::Time(fields.u64()?, fields.u32()?),
            2 => Self::File(fields.piece()?),
            3 => {
                let argv = fields.list(Fields::bytes)?;
                let env = fields.list(|fields| Ok((fields.bytes()?, fields.bytes()?)))?;
                let (cwd, lifetime_secs) = (fields.bytes()?, fields.u64()?);
                let input = match (fields.u32()?, fields.u16()?, fields.u16()?) {
                    (0, ..) => Input::Null,
                    (1, ..) => Input::Pipe,
                    (2, rows, columns) => Input::Terminal(rows, columns),
                    _ => return Err(malformed("unknown kind of input")),
                };
                Self::Run(Command { argv, env, cwd, lifetime_secs, input, service: fields.u32()? != 0 })
            }
            4 => Self::Signal(fields.u32()?),
            5 => Self::Resume(fields.u64()?, fields.u32()?, fields.bytes()?),
            6 => Self::Sync,
            7 => Self::Answer(fields.u32()?, fields.u32()? != 0, fields.bytes()?),
            8 => Self::Stdin(fields.bytes()?),
            9 => Self::Resize(fields.u16()?, fields.u16()?),
            10 => Self::Close(fields.u32()?),
            _ => return Err(malformed("unknown kind of frame")),
        };
        fields.end()?;
        Ok(Some(message))
    }
}

impl FromGuest {
    /// Writes the message as one frame.
    pub(super) fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let mut out = Payload::default();
        let kind = match self {
            Self::Hello(version, release) => {
                out.u32(*version);
                out.bytes(release);
                1
            }
            Self::Stdout(data) => {
                out.bytes(data);
                2
            }
            Self::Stderr(data) => {
                out.bytes(data);
                3
            }
            Self::Note(text) => {
                out.bytes(text);
                4
            }
            Self::StartFailed(errno, text) => {
                out.u32(*errno);
                out.bytes(text);
                5
            }
            Self::Exit(status) => {
                out.u32(*status);
                6
            }
            Self::Result(piece) => {
                out.piece(piece);
                7
            }
            Self::Done => 8,
            Self::Synced => 9,
            Self::Ask(id, last, data) => {
                out.part(*id, *last, data);
                10
            }
            Self::Taken => 11,
            Self::Unloaded(name, reason) => {
                out.bytes(name);
                out.bytes(reason);
                12
            }
        };
        write_frame(to, kind, &out.0)
    }

    /// Reads one message; `None` when the stream ends between frames.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let Some((kind, payload)) = read_frame(from)? else { return Ok(None) };
        let mut fields = Fields(&payload);
        let message = match kind {
            1 => Self::Hello(fields.u32()?, fields.bytes()?),
            2 => Self::Stdout(fields.bytes()?),
            3 => Self::Stderr(fields.bytes()?),
            4 => Self::Note(fields.bytes()?),
            5 => Self::StartFailed(fields.u32()?, fields.bytes()?),
            6 => Self::Exit(fields.u32()?),
            7 => Self::Result(fields.piece()?),
            8 => Self::Done,
            9 => Self::Synced,
            11 => Self::Taken,
            12 => Self::Unloaded(fields.bytes()?, fields.bytes()?),
            10 => Self::Ask(fields.u32()?, fields.u32()? != 0, fields.bytes()?),
            _ => return Err(malformed("unknown kind of frame")),
        };
        fields.end()?;
        Ok(Some(message))
    }
}

/// The pieces in which a request or a reply travels, and whether each is the last: at least one.
pub(super) fn pieces(data: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    let count = data.len().div_ceil(PIECE).max(1);
    (0..count).map(move |index| {
        let end = data.len().min((index + 1) * PIECE);
        (index + 1 == count, data.get(index * PIECE..end).unwrap_or_default())
    })
}

/// Puts the pieces of requests or replies together, each by its number.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    parts: BTreeMap<u32, Vec<u8>>,
    held: usize,
}

impl Gathering {
    /// Takes a piece; gives the whole with the last one.
    pub(super) fn take(&mut self, id: u32, last: bool, data: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        self.held += data.len();
        let part = self.parts.entry(id).or_default();
        part.extend(data);
        if part.len() > MAX_SERVICE || self.held > 4 * MAX_SERVICE {
            return Err(malformed("request too long"));
        }
        if !last {
            return Ok(None);
        }
        let whole = self.parts.remove(&id);
        self.held -= whole.as_ref().map_or(0, Vec::len);
        Ok(whole)
    }
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn write_frame(to: &mut impl Write, kind: u8, payload: &[u8]) -> io::Result<()> {
    if payload.len() > MAX_PAYLOAD {
        return Err(malformed("frame too long"));
    }
    // One write per frame: a torn frame costs a wakeup of the other side's virtual CPU.
    let mut frame = Vec::with_capacity(payload.len() + 5);
    frame.push(kind);
    frame.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    frame.extend_from_slice(payload);
    to.write_all(&frame)?;
    to.flush()
}

fn read_frame(from: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut kind = [0u8; 1];
    loop {
        match from.read(&mut kind) {
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut len = [0u8; 4];
    from.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len) as usize;
    if len > MAX_PAYLOAD {
        return Err(malformed("frame too long"));
    }
    let mut payload = vec![0; len];
    from.read_exact(&mut payload)?;
    let [kind] = kind;
    Ok(Some((kind, payload)))
}

#[derive(Default)]
struct Payload(Vec<u8>);

impl Payload {
    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, value: &[u8]) {
        self.u32(value.len() as u32);
        self.0.extend_from_slice(value);
    }

    fn part(&mut self, id: u32, last: bool, data: &[u8]) {
        self.u32(id);
        self.u32(u32::from(last));
        self.bytes(data);
    }

    fn piece(&mut self, piece: &FilePiece) {
        self.bytes(&piece.path);
        self.u32(piece.mode);
        self.u64(piece.offset);
        self.bytes(&piece.data);
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| malformed("frame too short"))?;
        self.0 = rest;
        Ok(*head)
    }

    fn u32(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u16(&mut self) -> io::Result<u16> {
        u16::try_from(self.u32()?).map_err(|_| malformed("number too large"))
    }

    fn u64(&mut self) -> io::Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn bytes(&mut self) -> io::Result<Vec<u8>> {
        let len = self.u32()? as usize;
        let (head, rest) = self.0.split_at_checked(len).ok_or_else(|| malformed("frame too short"))?;
        self.0 = rest;
        Ok(head.to_vec())
    }

    fn piece(&mut self) -> io::Result<FilePiece> {
        Ok(FilePiece { path: self.bytes()?, mode: self.u32()?, offset: self.u64()?, data: self.bytes()? })
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let count = self.u32()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn end(&self) -> io::Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(malformed("frame too long for its kind")) }
    }
}
