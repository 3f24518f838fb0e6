//! What the host does for programs in the guest: it answers requests, each in a thread of its own, so that output goes on
//! meanwhile.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread;

use super::process::Event;
use super::protocol::{Gathering, MAX_SERVICE};

/// Requests that are answered at a time; a guest that sends more is out of order.
const AT_ONCE: usize = 64;

/// Answers the requests of programs in the guest. A program connects to the unix socket that `BPF_VM_HOST_SOCKET` names;
/// a connection carries one request and its reply, each a length (u32, little endian) and that many bytes.
///
/// Requests come from the guest, which is not trusted: nothing that they say may harm the host.
#[derive(Clone)]
pub struct Service(Arc<Answer>);

type Answer = dyn Fn(&[u8]) -> Vec<u8> + Send + Sync;

impl Service {
    /// A service that answers with this function, several requests at a time.
    pub fn new(answer: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

/// The requests of one run.
#[derive(Debug)]
pub(super) struct Desk {
    service: Option<Service>,
    requests: Gathering,
    replies: SyncSender<Event>,
    /// As many holders as there are threads, and this one.
    at_work: Arc<()>,
}

impl Desk {
    /// A desk whose replies become events.
    pub(super) fn new(service: Option<Service>, replies: SyncSender<Event>) -> Self {
        Self { service, requests: Gathering::default(), replies, at_work: Arc::new(()) }
    }

    /// Takes a piece of a request and starts to answer when it is the last.
    pub(super) fn take(&mut self, id: u32, last: bool, data: Vec<u8>) -> io::Result<()> {
        let Some(request) = self.requests.take(id, last, data)? else { return Ok(()) };
        let Some(service) = self.service.clone() else { return Ok(()) };
        let (replies, at_work) = (self.replies.clone(), Arc::clone(&self.at_work));
        if Arc::strong_count(&at_work) > AT_ONCE {
            return Err(io::Error::other("it asks for too much at once"));
        }
        thread::Builder::new().name("service".to_owned()).spawn(move || {
            let _at_work = at_work;
            // Whatever happens, the guest gets a reply; it would wait for ever.
            let reply = catch_unwind(AssertUnwindSafe(|| service.0(&request))).unwrap_or_default();
            let reply = if reply.len() > MAX_SERVICE { Vec::new() } else { reply };
            // A run that has ended wants none.
            let _ = replies.send(Event::Reply(id, reply));
        })?;
        Ok(())
    }
}
