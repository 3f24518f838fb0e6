//! What is really done, where there is a kernel tier; a word about it where there is none.

/// Each function of `kernel::actions`, or an error without the feature.
macro_rules! real {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty;)*) => {
        $(
            pub(super) fn $name($($arg: $ty),*) -> Result<$ret, crate::error::Error> {
                #[cfg(feature = "kernel")]
                return crate::kernel::actions::$name($($arg),*);
                #[cfg(not(feature = "kernel"))]
                {
                    $(let _ = $arg;)*
                    Err(crate::error::Error::Invalid(
                        "stimuli are really performed only with the feature 'kernel' of bpf-harness".to_owned(),
                    ))
                }
            }
        )*
    };
}

use std::path::Path;
use std::time::Duration;

use super::Stimulated;
use super::net::Family;
use crate::bpf::Bpf;
use crate::error::Error;

/// The kernel on which an action is really done.
#[derive(Debug)]
pub struct Real<'a> {
    bpf: &'a mut Bpf,
}

impl<'a> Real<'a> {
    pub(crate) fn new(bpf: &'a mut Bpf) -> Self {
        Self { bpf }
    }

    /// The test's programs and maps.
    pub fn bpf(&mut self) -> &mut Bpf {
        self.bpf
    }

    /// Sends a frame, with its Ethernet header, through the test's own network ([`Network`](super::Network)), where packet
    /// programs are attached. True if it was received and all of them let it through.
    ///
    /// # Errors
    /// If there is no kernel, or it refuses.
    pub fn send_packet(&mut self, frame: &[u8]) -> Result<bool, Error> {
        self.bpf.send_packet(frame)
    }
}

/// Names this thread as the one that acted, unless the action has said who did.
pub(crate) fn by_this_thread(done: Stimulated) -> Stimulated {
    #[cfg(feature = "kernel")]
    if done.pid == 0 {
        let Stimulated { pid, tgid, .. } = crate::kernel::actions::acted();
        return Stimulated { pid, tgid, ..done };
    }
    done
}

real! {
    fn read_file(path: &Path, room: usize) -> Stimulated;
    fn open_missing(path: &Path) -> Stimulated;
    fn write_file(path: &Path, bytes: &[u8]) -> Stimulated;
    fn fork(status: u8) -> Stimulated;
    fn exec(program: Option<&Path>, args: &[String]) -> Stimulated;
    fn thread() -> Stimulated;
    fn sleep(time: Duration) -> Stimulated;
    fn busy(time: Duration) -> Stimulated;
    fn sync() -> Stimulated;
    fn read_disk(bytes: usize) -> Stimulated;
    fn kill(target: Option<u32>, signal: u32, ignore: bool) -> Stimulated;
    fn tcp(family: Family, refused: Option<u16>, bytes: &[u8]) -> Stimulated;
    fn udp(family: Family, bytes: &[u8]) -> Stimulated;
    fn page_fault() -> Stimulated;
    fn strlen(text: &str) -> i64;
    fn packet(device: &str, bytes: &[u8]) -> Stimulated;
}
