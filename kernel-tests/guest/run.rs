//! Runs the program, passes its output on as it comes and tells how it ended.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::channel::{Channel, Writer};
use crate::host::Desk;
use crate::input::{self, Feed, Terminal};
use crate::protocol::{CHUNK, Command, FromGuest, HOST_SOCKET, HOST_SOCKET_VARIABLE, RESULTS_DIR, ToGuest};
use crate::{results, sys};

const SIGKILL: i32 = 9;

pub(crate) fn run(channel: &Channel, command: &Command) -> io::Result<()> {
    let _ = fs::create_dir_all(RESULTS_DIR);
    let writer = channel.writer();
    let desk = Desk::default();
    let opened = if command.service { desk.open(&writer) } else { Ok(()) };
    let (mut child, terminal) = match opened.and_then(|()| spawn(command)) {
        Ok(started) => started,
        Err(error) => {
            let errno = error.raw_os_error().unwrap_or(0) as u32;
            writer.send(&FromGuest::StartFailed(errno, error.to_string().into_bytes()))?;
            writer.send(&FromGuest::Done)?;
            linger();
            return Ok(());
        }
    };
    let pid = child.id() as i32;
    let (mut pumps, feed) = match terminal {
        Some(Terminal { output, input }) => {
            let keep = input.try_clone().ok();
            // A terminal goes on as long as its other end is there.
            let pump = pump(output, writer.clone(), FromGuest::Stdout, Arc::default());
            (vec![pump], input::feed(input, keep, writer.clone()))
        }
        None => {
            let feed = child.stdin.take().map(|pipe| input::feed(pipe, None, writer.clone()));
            (Vec::new(), feed.unwrap_or_default())
        }
    };
    let unread = [Unread::default(), Unread::default()];
    let [stdout, stderr] = unread.clone();
    pumps.extend(child.stdout.take().map(|pipe| pump(pipe, writer.clone(), FromGuest::Stdout, stdout)));
    pumps.extend(child.stderr.take().map(|pipe| pump(pipe, writer.clone(), FromGuest::Stderr, stderr)));
    obey(channel.reader()?, pid, desk, feed, unread);
    if command.lifetime_secs > 0 {
        let lifetime = Duration::from_secs(command.lifetime_secs);
        thread::spawn(move || {
            thread::sleep(lifetime);
            sys::power_off();
        });
    }
    let status = reap(pid)?;
    drain(pumps);
    writer.send(&FromGuest::Exit(status))?;
    results::send_all(&writer)?;
    writer.send(&FromGuest::Done)?;
    linger();
    Ok(())
}

/// The host ends the machine; powering off first could cut the last bytes off.
pub(crate) fn linger() {
    thread::sleep(Duration::from_secs(10));
}

fn spawn(command: &Command) -> io::Result<(process::Child, Option<Terminal>)> {
    let mut argv = command.argv.iter().map(|arg| OsStr::from_bytes(arg));
    let program = argv.next().ok_or_else(|| io::Error::other("no program given"))?;
    let cwd = OsStr::from_bytes(&command.cwd);
    // The kernel would say of the program that it is not there.
    fs::create_dir_all(cwd).map_err(|error| {
        let folder = cwd.to_string_lossy();
        io::Error::other(format!("its working directory {folder} cannot be made there ({error})"))
    })?;
    let socket = command.service.then_some((HOST_SOCKET_VARIABLE, HOST_SOCKET));
    let mut start = process::Command::new(program);
    start
        .args(argv)
        .env_clear()
        .envs(command.env.iter().map(|(key, value)| (OsStr::from_bytes(key), OsStr::from_bytes(value))))
        .envs(socket)
        .current_dir(cwd);
    let terminal = input::connect(&mut start, command.input)?;
    if terminal.is_none() {
        // A program with a terminal leads a session, which is a group as well.
        start.process_group(0);
    }
    Ok((start.spawn()?, terminal))
}

/// Whether nobody reads a stream on the host any more.
type Unread = Arc<AtomicBool>;

/// Gives what the program writes to the host. A pipe that is unread is closed when something comes out of it: the
/// program's next write gets SIGPIPE.
fn pump<R: Read + Send + 'static>(
    mut pipe: R,
    to: Writer,
    wrap: fn(Vec<u8>) -> FromGuest,
    unread: Unread,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = vec![0; CHUNK];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => return,
                Ok(count) => {
                    if unread.load(Ordering::Relaxed) || to.send(&wrap(buffer[..count].to_vec())).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    })
}

/// Signals from the host go to the program's process group; a host that is gone ends the machine.
fn obey(mut reader: fs::File, pid: i32, desk: Desk, mut feed: Feed, unread: [Unread; 2]) {
    thread::spawn(move || {
        loop {
            match ToGuest::read(&mut reader) {
                Ok(Some(ToGuest::Signal(signal))) => sys::kill(-pid, signal as i32),
                Ok(Some(ToGuest::Answer(id, last, data))) => desk.answer(id, last, data),
                Ok(Some(ToGuest::Stdin(data))) => feed.put(data),
                Ok(Some(ToGuest::Resize(rows, columns))) => feed.resize(rows, columns),
                Ok(Some(ToGuest::Close(stream))) => {
                    unread[usize::from(stream != 1)].store(true, Ordering::Relaxed);
                }
                Ok(Some(_)) => {}
                Ok(None) => crate::give_up(&"the channel to the host was closed"),
                Err(error) => crate::give_up(&format_args!("the channel to the host failed: {error}")),
            }
        }
    });
}

/// Waits for the program, reaping whatever orphans end meanwhile. A signal gives 128 + its number, as in a shell.
fn reap(program: i32) -> io::Result<u32> {
    loop {
        let (pid, status) = sys::wait_any()?;
        if pid != program {
            continue;
        }
        let signal = status & 0x7f;
        return Ok(if signal == 0 { (status >> 8 & 0xff) as u32 } else { 128 + signal as u32 });
    }
}

/// A daemon that the program left behind may hold its output open: it gets a moment, then everything is killed.
fn drain(pumps: Vec<JoinHandle<()>>) {
    for _ in 0..50 {
        if pumps.iter().all(JoinHandle::is_finished) {
            break;
        }
        thread::sleep(Duration::from_millis(4));
    }
    sys::kill(-1, SIGKILL);
    for pump in pumps {
        let _ = pump.join();
    }
}
