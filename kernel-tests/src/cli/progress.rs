//! Progress on standard error: bars on a terminal, lines for warnings, silence otherwise.

use std::io::Write;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::kernels::{Event, Report};

/// Shows what [`crate::kernels::Kernels`] does.
#[derive(Default, Debug)]
pub(super) struct Bars {
    bar: Mutex<Option<ProgressBar>>,
}

impl Bars {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A bar without an end.
    fn spin(&self, text: String) {
        let bar = ProgressBar::new_spinner().with_message(text);
        bar.enable_steady_tick(Duration::from_millis(120));
        self.replace(Some(bar));
    }

    fn replace(&self, new: Option<ProgressBar>) {
        // A poisoned lock only means that a bar is left on the screen.
        let mut bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(old) = bar.take() {
            old.finish_and_clear();
        }
        *bar = new;
    }

    /// Moves the bar of a download, which is made at its first step.
    fn fetch(&self, release: &str, size: u64, percent: f32) {
        let mut bar = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let bar = bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}");
            let bar = ProgressBar::new(size).with_message(release.to_owned());
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "it is for a bar of thirty cells"
        )]
        bar.set_position((size as f32 * percent.clamp(0.0, 100.0) / 100.0) as u64);
    }
}

impl Report for Bars {
    fn event(&self, event: Event) {
        match event {
            Event::Updating => self.spin("reading the archive's lists".to_owned()),
            Event::Waiting { what } => self.spin(format!("waiting for another process at {what}")),
            Event::Fetching { release, size, percent } => self.fetch(&release, size, percent),
            Event::Unpacking { release } => self.spin(format!("unpacking {release}")),
            Event::Done => self.replace(None),
            Event::Warning(text) => {
                // Nothing can be done about a closed standard error.
                let _ = writeln!(std::io::stderr(), "warning: {text}");
            }
        }
    }
}
