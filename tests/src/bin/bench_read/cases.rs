//! What is measured.

use crate::{Plan, images};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use system_tests::guards::{FuseMount, Server, status_kib};
use system_tests::measure::Unit;
use system_tests::report::{Report, Row, Target};
use system_tests::scratch::Scratch;
use system_tests::tool;

/// "Cold": mounted anew, dentries and inodes dropped; the image itself stays in
/// the page cache.
fn cold(server: Server, image: &Path, scratch: &Scratch) -> Result<FuseMount> {
    std::fs::write("/proc/sys/vm/drop_caches", "2").context("drop_caches")?;
    FuseMount::with(server, image, &scratch.path("mounted"), "")
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

/// From the command to mount until the first listing of the root.
pub(crate) fn mount(plan: &Plan, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let image = images::huge(scratch)?;
    let mut row = Row::new(
        "mount 100 GiB, clean, to first ls",
        Unit::Milliseconds,
        &[Target::Below(50.0)],
    );
    for _ in 0..plan.rounds {
        for &server in &plan.servers {
            std::fs::write("/proc/sys/vm/drop_caches", "2")?;
            let start = Instant::now();
            let mount = FuseMount::with(server, &image, &scratch.path("mounted"), "")?;
            let names = std::fs::read_dir(mount.path())?.count();
            row.push(server, milliseconds(start));
            ensure!(names == 1, "{names} names in the root");
            mount.unmount()?;
        }
    }
    std::fs::remove_file(&image)?;
    report.add(row);
    Ok(())
}

fn shell(command: &str, dir: &Path) -> Result<f64> {
    let start = Instant::now();
    let status = Command::new("sh")
        .args(["-c", command])
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "{command}: {status}");
    Ok(milliseconds(start))
}

const FIND: &str = "find . -ls";
const TAR: &str = "tar cf - . | wc -c";

/// Walking and reading the tree, cold and again.
pub(crate) fn tree(
    plan: &Plan,
    scratch: &Scratch,
    image: &Path,
    report: &mut Report,
) -> Result<()> {
    use Server::{Fuse2fs, Kernel};
    let ms = Unit::Milliseconds;
    let mut rows = [
        Row::new("find -ls, cold", ms, &[Target::Times(4.0, Fuse2fs)]),
        Row::new("find -ls, warm", ms, &[Target::AtMost(1.2, Kernel)]),
        Row::new("tar, cold", ms, &[Target::Times(2.5, Fuse2fs)]),
        Row::new("tar, warm", ms, &[Target::AtMost(1.2, Kernel)]),
    ];
    for _ in 0..plan.rounds {
        for &server in &plan.servers {
            for (command, at) in [(FIND, 0), (TAR, 2)] {
                let mount = cold(server, image, scratch)?;
                rows[at].push(server, shell(command, mount.path())?);
                rows[at + 1].push(server, shell(command, mount.path())?);
                mount.unmount()?;
            }
        }
    }
    rows.into_iter().for_each(|row| report.add(row));
    Ok(())
}

/// The server's memory after the tree was walked and read.
pub(crate) fn memory(
    plan: &Plan,
    scratch: &Scratch,
    image: &Path,
    report: &mut Report,
) -> Result<()> {
    let limit = f64::from(64u32 << 10);
    let mut row = Row::new(
        "server's memory after find and tar",
        Unit::Kibibytes,
        &[Target::Below(limit)],
    );
    for &server in plan
        .servers
        .iter()
        .filter(|&&server| server != Server::Kernel)
    {
        let mount = cold(server, image, scratch)?;
        shell(FIND, mount.path())?;
        shell(TAR, mount.path())?;
        let pid = mount.pid().context("the server's process was not found")?;
        let field = |name| status_kib(pid, name).with_context(|| format!("{name} of {pid}"));
        let own = field("RssAnon")? + field("RssShmem")?;
        row.push(server, f64::from(u32::try_from(own)?));
        report.note(format!(
            "memory of {server:?}: RssAnon {} KiB, RssShmem {} KiB, RssFile {} KiB, VmHWM {} KiB",
            field("RssAnon")?,
            field("RssShmem")?,
            field("RssFile")?,
            field("VmHWM")?
        ));
        mount.unmount()?;
    }
    report.add(row);
    Ok(())
}

/// One way of reading the large file.
struct Reading {
    name: &'static str,
    unit: Unit,
    fio: &'static [&'static str],
    targets: &'static [Target],
}

const READINGS: &[Reading] = &[
    Reading {
        name: "1 MiB direct",
        unit: Unit::MegabytesPerSecond,
        fio: &["--rw=read", "--bs=1M", "--direct=1", "--ioengine=psync"],
        targets: &[
            Target::Times(3.0, Server::Fuse2fs),
            Target::Times(0.7, Server::Kernel),
        ],
    },
    Reading {
        name: "1 MiB buffered, file not cached",
        unit: Unit::MegabytesPerSecond,
        fio: &["--rw=read", "--bs=1M", "--direct=0", "--ioengine=psync"],
        targets: &[Target::Times(1.4, Server::Fuse2fs)],
    },
    Reading {
        name: "4 KiB random direct, depth 32",
        unit: Unit::OperationsPerSecond,
        fio: &[
            "--rw=randread",
            "--bs=4k",
            "--direct=1",
            "--ioengine=libaio",
            "--iodepth=32",
            "--norandommap",
            "--time_based",
        ],
        targets: &[
            Target::Times(4.0, Server::Fuse2fs),
            Target::Times(0.75, Server::Kernel),
        ],
    },
    Reading {
        name: "4 KiB random direct, depth 1",
        unit: Unit::OperationsPerSecond,
        fio: &[
            "--rw=randread",
            "--bs=4k",
            "--direct=1",
            "--ioengine=psync",
            "--norandommap",
            "--time_based",
        ],
        targets: &[
            Target::Times(1.0, Server::Fuse2fs),
            Target::Times(1.0, Server::Kernel),
        ],
    },
];

/// Reading a large file whose image is in the page cache.
pub(crate) fn file(plan: &Plan, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let image = images::one_file(plan, scratch)?;
    for reading in READINGS {
        let mut row = Row::new(reading.name, reading.unit, reading.targets);
        for _ in 0..plan.rounds {
            for &server in &plan.servers {
                let mount = cold(server, &image, scratch)?;
                let value = fio(plan, reading, &mount.path().join("file"))?;
                row.push(server, value);
                mount.unmount()?;
            }
        }
        report.add(row);
    }
    std::fs::remove_file(&image)?;
    Ok(())
}

fn fio(plan: &Plan, reading: &Reading, file: &Path) -> Result<f64> {
    let mut args = vec![
        "--name=bench".to_owned(),
        format!("--filename={}", file.display()),
        "--readonly".into(),
        "--invalidate=0".into(),
        "--output-format=json".into(),
        format!("--runtime={}", if plan.quick { 1 } else { 3 }),
    ];
    args.extend(reading.fio.iter().map(|&arg| arg.to_owned()));
    let output = tool::run("fio", &args)?;
    let start = output.find('{').context("no JSON from fio")?;
    let json: serde_json::Value = serde_json::from_str(&output[start..])?;
    let read = &json["jobs"][0]["read"];
    let value = match reading.unit {
        Unit::MegabytesPerSecond => read["bw_bytes"].as_f64().map(|bytes| bytes / 1e6),
        _ => read["iops"].as_f64(),
    };
    value
        .filter(|&value| value > 0.0)
        .context("fio read nothing")
}
