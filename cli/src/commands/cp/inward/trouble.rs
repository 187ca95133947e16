//! Why a file could not be copied, and whether the next one can be.

use fs_core::ErrorKind;

/// Why a file could not be copied.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It concerns this file: complained of, and the copy goes on.
    File(anyhow::Error),
    /// Every further file would meet it: the copy ends.
    All(anyhow::Error),
}

pub(super) type Result<T> = std::result::Result<T, Trouble>;

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Self::File(error)
    }
}

impl Trouble {
    /// What the image that is written said.
    pub(super) fn in_image(error: fs_core::Error) -> Self {
        let ends = matches!(
            error.kind(),
            ErrorKind::NoSpace | ErrorKind::ReadOnly | ErrorKind::Stopped(_) | ErrorKind::Busy(_)
        );
        let error = anyhow::Error::from(error);
        if ends {
            Self::All(error.context("cannot be written into the image"))
        } else {
            Self::File(error)
        }
    }

    /// The same with what was being done.
    pub(super) fn context(self, what: &'static str) -> Self {
        match self {
            Self::File(error) => Self::File(error.context(what)),
            Self::All(error) => Self::All(error),
        }
    }
}
