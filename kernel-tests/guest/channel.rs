//! The byte stream to the host: the virtio-serial port when the kernel has a driver, the second serial line otherwise.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::protocol::{FromGuest, PORT, SERIAL_LINK, ToGuest};
use crate::sys;

/// The line that is not the console: on x86 the second of the two, on arm64 the PCI card beside the board's own line, which
/// another driver names.
const SERIAL: &str = if cfg!(target_arch = "x86_64") { "/dev/ttyS1" } else { "/dev/ttyS0" };
/// Names of ports arrive by message after the driver came up.
const PORT_PATIENCE: Duration = Duration::from_secs(5);

/// Reads by one thread, writes by any: a frame is written under the lock as a whole.
#[derive(Debug)]
pub(crate) struct Channel {
    reader: File,
    writer: Writer,
}

#[derive(Debug, Clone)]
pub(crate) struct Writer(Arc<Mutex<File>>);

impl Writer {
    pub(crate) fn send(&self, message: &FromGuest) -> io::Result<()> {
        let mut file = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        message.write(&mut *file)
    }
}

impl Channel {
    pub(crate) fn open() -> io::Result<Self> {
        // The host knows which of the two it made.
        let serial = fs::read_to_string("/proc/cmdline").unwrap_or_default().contains(SERIAL_LINK);
        let reader = match if serial { None } else { virtio_port() } {
            Some(path) => OpenOptions::new().read(true).write(true).open(path)?,
            None => {
                let file = OpenOptions::new().read(true).write(true).open(SERIAL)?;
                sys::raw_terminal(&file)?;
                file
            }
        };
        let writer = Writer(Arc::new(Mutex::new(reader.try_clone()?)));
        Ok(Self { reader, writer })
    }

    pub(crate) fn send(&self, message: &FromGuest) -> io::Result<()> {
        self.writer.send(message)
    }

    pub(crate) fn receive(&mut self) -> io::Result<Option<ToGuest>> {
        ToGuest::read(&mut self.reader)
    }

    pub(crate) fn writer(&self) -> Writer {
        self.writer.clone()
    }

    pub(crate) fn reader(&self) -> io::Result<File> {
        self.reader.try_clone()
    }
}

fn virtio_port() -> Option<PathBuf> {
    let start = Instant::now();
    // The class exists as soon as the driver does; without it there is nothing to wait for.
    while start.elapsed() < PORT_PATIENCE {
        for entry in fs::read_dir("/sys/class/virtio-ports").ok()?.flatten() {
            let named = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            if named.trim_end() == PORT {
                return Some(PathBuf::from("/dev").join(entry.file_name()));
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    None
}
