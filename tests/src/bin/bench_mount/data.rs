//! One large file: sequential and random, buffered and direct. fio measures.

use std::path::Path;

use anyhow::{Context, Result};
use system_tests::guards::Server;
use system_tests::measure::Unit;
use system_tests::report::{Report, Row, Target};
use system_tests::scratch::Scratch;
use system_tests::tool;

use crate::Plan;
use crate::mounted::Mounted;

/// One way of reading or writing.
struct Access {
    name: &'static str,
    unit: Unit,
    fio: &'static str,
    /// What becomes of the file before.
    before: Before,
    /// The least ratios to fuse2fs and the kernel.
    targets: (f64, f64),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    /// It is removed: the access makes it anew.
    Removed,
    /// The mount is made anew, so that the file is not in the page cache.
    Remounted,
    Kept,
}

const MBPS: Unit = Unit::MegabytesPerSecond;
const RATE: Unit = Unit::OperationsPerSecond;

const ACCESSES: [Access; 9] = [
    Access {
        name: "sequential write, 1 MiB, fsync at the end",
        unit: MBPS,
        fio: "--rw=write --bs=1M --ioengine=psync --end_fsync=1",
        before: Before::Removed,
        targets: (1.5, 1.0),
    },
    Access {
        name: "sequential direct write, 1 MiB",
        unit: MBPS,
        fio: "--rw=write --bs=1M --ioengine=psync --direct=1",
        before: Before::Removed,
        targets: (2.5, 0.7),
    },
    Access {
        name: "sequential direct read, 1 MiB",
        unit: MBPS,
        fio: "--rw=read --bs=1M --ioengine=psync --direct=1",
        before: Before::Kept,
        targets: (3.0, 0.7),
    },
    Access {
        name: "sequential read, file not cached",
        unit: MBPS,
        fio: "--rw=read --bs=1M --ioengine=psync --invalidate=0",
        before: Before::Remounted,
        targets: (1.4, 1.5),
    },
    Access {
        name: "random direct reads, 4 KiB, depth 1",
        unit: RATE,
        fio: "--rw=randread --bs=4k --ioengine=psync --direct=1 --norandommap --time_based",
        before: Before::Kept,
        targets: (1.0, 1.3),
    },
    Access {
        name: "random direct reads, 4 KiB, depth 32",
        unit: RATE,
        fio: "--rw=randread --bs=4k --ioengine=libaio --iodepth=32 --direct=1 --norandommap \
              --time_based",
        before: Before::Kept,
        targets: (4.0, 0.75),
    },
    Access {
        name: "random direct overwrites, 4 KiB, depth 1",
        unit: RATE,
        fio: "--rw=randwrite --bs=4k --ioengine=psync --direct=1 --norandommap --time_based",
        before: Before::Kept,
        targets: (1.3, 1.2),
    },
    Access {
        name: "random direct overwrites, 4 KiB, depth 32",
        unit: RATE,
        fio: "--rw=randwrite --bs=4k --ioengine=libaio --iodepth=32 --direct=1 --norandommap \
              --time_based",
        before: Before::Kept,
        targets: (4.0, 0.7),
    },
    Access {
        name: "random buffered overwrites, 4 KiB, fsync at the end",
        unit: RATE,
        fio: "--rw=randwrite --bs=4k --ioengine=psync --io_size=256M --end_fsync=1",
        before: Before::Kept,
        targets: (6.0, 0.7),
    },
];

pub(crate) fn measure(plan: &Plan, scratch: &Scratch, report: &mut Report) -> Result<()> {
    let mut rows = ACCESSES.map(|access| {
        let (fuse2fs, kernel) = access.targets;
        let targets = [
            Target::Times(fuse2fs, Server::Fuse2fs),
            Target::Times(kernel, Server::Kernel),
        ];
        Row::new(access.name, access.unit, &targets)
    });
    for _ in 0..plan.rounds {
        for &server in &plan.servers {
            let mut mounted = Mounted::new(server, scratch, 3 << 30, &plan.options)?;
            for (access, row) in ACCESSES.iter().zip(&mut rows) {
                let file = mounted.path().join("file");
                match access.before {
                    Before::Removed if file.exists() => std::fs::remove_file(&file)?,
                    Before::Remounted => mounted = mounted.again(&plan.options)?,
                    Before::Removed | Before::Kept => {}
                }
                row.push(server, fio(plan, access, &file)?);
            }
            mounted.end()?;
        }
    }
    rows.into_iter().for_each(|row| report.add(row));
    Ok(())
}

fn fio(plan: &Plan, access: &Access, file: &Path) -> Result<f64> {
    let mut args = vec![
        "--name=bench".to_owned(),
        format!("--filename={}", file.display()),
        format!("--size={}", if plan.quick { "256M" } else { "1G" }),
        "--output-format=json".into(),
        "--fallocate=none".into(),
        format!("--runtime={}", if plan.quick { 1 } else { 3 }),
    ];
    args.extend(access.fio.split_whitespace().map(str::to_owned));
    let output = tool::run("fio", &args)?;
    let start = output.find('{').context("no JSON from fio")?;
    let json: serde_json::Value = serde_json::from_str(&output[start..])?;
    let job = &json["jobs"][0];
    let direction = if access.fio.contains("read ") {
        "read"
    } else {
        "write"
    };
    let side = &job[direction];
    let amount = match access.unit {
        Unit::MegabytesPerSecond => side["io_bytes"].as_f64().map(|bytes| bytes / 1e6),
        _ => side["total_ios"].as_f64(),
    };
    // With the fsync at the end, which fio's own rate leaves out.
    let seconds = job["job_runtime"].as_f64().map(|ms| ms / 1e3);
    let rate = amount
        .zip(seconds)
        .map(|(amount, seconds)| amount / seconds);
    rate.filter(|rate| rate.is_finite() && *rate > 0.0)
        .with_context(|| format!("fio did nothing: {}", access.name))
}
