//! The host's service for programs in the guest: a unix socket whose requests and replies travel over the channel.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::channel::Writer;
use crate::protocol::{FromGuest, Gathering, HOST_SOCKET, MAX_SERVICE, pieces};

/// Requests that wait for their replies.
#[derive(Clone, Default)]
pub(crate) struct Desk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: u32,
    waiting: BTreeMap<u32, Sender<Vec<u8>>>,
    replies: Gathering,
}

impl Desk {
    /// Takes requests from now on.
    pub(crate) fn open(&self, to: &Writer) -> io::Result<()> {
        let path = Path::new(HOST_SOCKET);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let listener = UnixListener::bind(path)?;
        // Tests may have dropped their privileges.
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        let (desk, to) = (self.clone(), to.clone());
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let (desk, to) = (desk.clone(), to.clone());
                // What goes wrong is the connection's alone: it is closed without a reply.
                thread::spawn(move || desk.serve(connection, &to));
            }
        });
        Ok(())
    }

    /// A piece of a reply arrived.
    pub(crate) fn answer(&self, id: u32, last: bool, data: Vec<u8>) {
        let mut state = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match state.replies.take(id, last, data) {
            Ok(None) => {}
            Ok(Some(reply)) => {
                if let Some(to) = state.waiting.remove(&id) {
                    let _ = to.send(reply);
                }
            }
            // Its sender is dropped, which ends the wait.
            Err(_) => drop(state.waiting.remove(&id)),
        }
    }

    fn serve(&self, mut connection: UnixStream, to: &Writer) -> io::Result<()> {
        let mut length = [0; 4];
        connection.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_SERVICE {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut request = Vec::new();
        (&connection).take(length as u64).read_to_end(&mut request)?;
        if request.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (id, reply) = self.register();
        for (last, piece) in pieces(&request) {
            to.send(&FromGuest::Ask(id, last, piece.to_vec()))?;
        }
        let reply = reply.recv().map_err(io::Error::other)?;
        connection.write_all(&(reply.len() as u32).to_le_bytes())?;
        connection.write_all(&reply)
    }

    fn register(&self) -> (u32, Receiver<Vec<u8>>) {
        let mut state = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (sender, receiver) = channel();
        let id = state.next;
        state.next = state.next.wrapping_add(1);
        state.waiting.insert(id, sender);
        (id, receiver)
    }
}
