//! On whose behalf a request is made.
//!
//! With idmapped mounts agreed on the kernel names the caller only where something new gets
//! an owner. For the few requests that only the superuser may make the system is asked then:
//! the caller waits for our answer, so its number still means it.

use crate::wire::InHeader;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller {
    /// `None` where the kernel does not say.
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pid: u32,
}

impl Caller {
    pub(crate) fn of(header: &InHeader) -> Self {
        let said = |id: u32| (id != u32::MAX).then_some(id);
        Self {
            uid: said(header.uid),
            gid: said(header.gid),
            pid: header.pid,
        }
    }

    /// Whether it acts as the superuser.
    pub(crate) fn is_superuser(self) -> bool {
        self.acting_uid() == Some(0)
    }

    /// The user it acts as, as far as that can be found out.
    pub(crate) fn acting_uid(self) -> Option<u32> {
        self.uid.or_else(|| uid_of_process(self.pid))
    }
}

/// The user whose rights to files a thread has.
fn uid_of_process(pid: u32) -> Option<u32> {
    if pid == 0 {
        return None;
    }
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    // Real, effective, saved, and that for files.
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_not_named_is_looked_up() {
        let header = InHeader {
            uid: u32::MAX,
            gid: u32::MAX,
            pid: std::process::id(),
            ..InHeader::default()
        };
        let own = rustix::process::geteuid().as_raw();
        assert_eq!(Caller::of(&header).acting_uid(), Some(own));
        let nobody = InHeader { pid: 0, ..header };
        assert!(!Caller::of(&nobody).is_superuser());
        let named = InHeader { uid: 7, ..header };
        assert_eq!(Caller::of(&named).acting_uid(), Some(7));
    }
}
