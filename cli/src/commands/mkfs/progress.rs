//! A progress bar, on a terminal only.

use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use mkfs::{Progress, Stage};

/// Shows how far the work is on standard error if that is a terminal. Work that
/// is done at once is never shown.
#[derive(Debug)]
pub(crate) struct Bar {
    /// The bar of the present stage; `None` if nobody looks.
    bar: Option<Mutex<ProgressBar>>,
}

impl Bar {
    /// A bar, unless `quiet` or standard error is no terminal.
    pub(crate) fn new(quiet: bool) -> Self {
        let shown = !quiet && rustix::termios::isatty(rustix::stdio::stderr());
        Self {
            bar: shown.then(|| Mutex::new(ProgressBar::hidden())),
        }
    }
}

impl Progress for Bar {
    fn begin(&self, stage: Stage, total: u64) {
        let Some(bar) = &self.bar else {
            return;
        };
        let Ok(mut bar) = bar.lock() else {
            return;
        };
        bar.finish_and_clear();
        let (name, unit) = match stage {
            Stage::Scanning => ("looking at the source", "{human_pos} entries"),
            Stage::Discarding => ("discarding", "{bytes}/{total_bytes}"),
            Stage::Tables => ("writing bitmaps and tables", "{pos}/{len} groups"),
            Stage::Journal => ("writing the journal", "{bytes}/{total_bytes}"),
            Stage::Content => (
                "copying",
                "{bytes}/{total_bytes} {bytes_per_sec}, {eta} left",
            ),
            Stage::Superblocks => ("writing superblocks", "{pos}/{len} groups"),
        };
        let template = match total {
            0 => format!("{name} {unit}"),
            _ => format!("{name} {{wide_bar}} {unit}"),
        };
        let target = ProgressDrawTarget::stderr_with_hz(10);
        *bar = ProgressBar::with_draw_target(Some(total), target);
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
    }

    fn advance(&self, units: u64) {
        if let Some(Ok(bar)) = self.bar.as_ref().map(Mutex::lock) {
            bar.inc(units);
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(Ok(bar)) = self.bar.as_ref().map(Mutex::lock) {
            bar.finish_and_clear();
        }
    }
}
