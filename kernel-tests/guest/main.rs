//! The guest's init and agent: process 1 of a virtual machine that lives for one program.
//!
//! It uses nothing but the standard library and a few C functions (`sys.rs`), because the library's build script compiles
//! it with plain `rustc` into one static binary that is embedded in `bpf-vm` (see `build.rs` for the reasons).
//!
//! Nothing here may end the process: when init exits the kernel panics. Failures are written to the console (which the
//! host shows) and end the machine (`give_up`).

mod channel;
mod host;
mod input;
mod modules;
#[path = "../src/vm/protocol.rs"]
#[allow(dead_code, unreachable_pub, reason = "the host's half is not used here")]
mod protocol;
mod results;
mod run;
mod setup;
mod sys;

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::thread;
use std::time::Duration;

use protocol::{FilePiece, FromGuest, ToGuest, VERSION};

fn main() {
    std::panic::set_hook(Box::new(|info| {
        give_up(info);
    }));
    let notes = setup::prepare().into_iter().map(|note| FromGuest::Note(note.into_bytes()));
    let notes: Vec<FromGuest> = notes.chain(modules::load_all()).collect();
    let mut channel = match channel::Channel::open() {
        Ok(channel) => channel,
        Err(error) => {
            for note in &notes {
                if let FromGuest::Note(text) | FromGuest::Unloaded(_, text) = note {
                    eprintln!("bpf-vm agent: {}", String::from_utf8_lossy(text));
                }
            }
            give_up(&format_args!("no channel to the host: {error}"));
        }
    };
    match serve(&mut channel, &notes) {
        // Everything was said, or the host is gone.
        Ok(()) => sys::power_off(),
        Err(error) => give_up(&format_args!("the channel to the host failed: {error}")),
    }
}

/// Ends the machine, and tells the host why on the console, where it looks for this line.
fn give_up(why: &dyn Display) -> ! {
    eprintln!("{}{why}", protocol::LAST_WORDS);
    // The serial line still has it.
    thread::sleep(Duration::from_millis(50));
    sys::power_off()
}

fn serve(channel: &mut channel::Channel, notes: &[FromGuest]) -> io::Result<()> {
    channel.send(&FromGuest::Hello(VERSION, setup::release().into_bytes()))?;
    for note in notes {
        channel.send(note)?;
    }
    // A program without all of its files is not started.
    let mut missing = None;
    loop {
        match channel.receive()? {
            None => return Ok(()),
            Some(ToGuest::Time(secs, nanos)) => sys::set_clock(secs, nanos),
            Some(ToGuest::File(piece)) => {
                if let Err(error) = put(&piece) {
                    let text = format!("{}: {error}", String::from_utf8_lossy(&piece.path));
                    missing.get_or_insert((error.raw_os_error().unwrap_or(0) as u32, text));
                }
            }
            Some(ToGuest::Resume(secs, nanos, seed)) => {
                sys::set_clock(secs, nanos);
                sys::reseed(&seed);
                channel.send(&FromGuest::Hello(VERSION, setup::release().into_bytes()))?;
            }
            Some(ToGuest::Sync) if missing.is_none() => channel.send(&FromGuest::Synced)?,
            Some(ToGuest::Run(command)) if missing.is_none() => return run::run(channel, &command),
            Some(ToGuest::Sync | ToGuest::Run(_)) => {
                let (errno, text) = missing.unwrap_or_default();
                channel.send(&FromGuest::StartFailed(errno, text.into_bytes()))?;
                channel.send(&FromGuest::Done)?;
                run::linger();
                return Ok(());
            }
            Some(ToGuest::Signal(_) | ToGuest::Answer(..) | ToGuest::Stdin(_)) => {}
            Some(ToGuest::Resize(..) | ToGuest::Close(_)) => {}
        }
    }
}

fn put(piece: &FilePiece) -> io::Result<()> {
    const KIND: u32 = 0o170_000;
    const FOLDER: u32 = 0o040_000;
    const LINK: u32 = 0o120_000;
    let path = Path::new(OsStr::from_bytes(&piece.path));
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mode = piece.mode & 0o7777;
    match piece.mode & KIND {
        FOLDER => {
            fs::create_dir_all(path)?;
            // Without permissions it is one on the way to a file, and stays what it is.
            if mode == 0 { Ok(()) } else { fs::set_permissions(path, Permissions::from_mode(mode)) }
        }
        LINK => {
            let _ = fs::remove_file(path);
            symlink(OsStr::from_bytes(&piece.data), path)
        }
        _ => {
            let first = piece.offset == 0;
            let mut file = OpenOptions::new().create(true).truncate(first).write(true).open(path)?;
            if first {
                // Exactly these, whatever the umask is.
                file.set_permissions(Permissions::from_mode(mode))?;
            }
            file.seek(SeekFrom::Start(piece.offset))?;
            file.write_all(&piece.data)
        }
    }
}
