//! The real server and the simulated kernel, put together over one image.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail, ensure};
use fs_core::{WritableVolume, WriteOptions};
use fuse_frontend::{Connection, ConnectionCalls, IomapMode, MountOptions, Session};
use images::BlockDevice;
use simulated_kernel::{
    Access, Descriptor, Handle, Kernel, Personality, ServerSide, Settings, SimDevice, Variant,
};
use system_tests::mkfs::judge::fsck;
use system_tests::scratch::Scratch;
use system_tests::skip::{self, Need};

use crate::device::{Activity, ServerDevice};

/// Both kernels the protocol's description knows.
pub(crate) const VARIANTS: [Variant; 2] = [Variant::S, Variant::L];

/// Whether these tests can run here; says so if not.
pub(crate) fn possible() -> bool {
    skip::allowed(&[Need::Tool("mke2fs"), Need::Tool("e2fsck")])
}

/// Runs a test on both kernels, if it can run here.
pub(crate) fn on_both(test: impl Fn(Variant) -> Result<()>) -> Result<()> {
    if !possible() {
        return Ok(());
    }
    for variant in VARIANTS {
        test(variant).with_context(|| format!("on {variant:?}"))?;
    }
    Ok(())
}

/// The simulated kernel's own calls, as the server makes them.
#[derive(Debug)]
struct Calls(Handle);

impl ConnectionCalls for Calls {
    fn ioctl(&self, command: u32, argument: &mut [u8]) -> std::io::Result<u32> {
        Ok(self.0.ioctl(command, argument)?)
    }

    fn notify(&self, message: &[u8]) -> std::io::Result<()> {
        Ok(self.0.notify(message)?)
    }
}

/// How the two are put together.
pub(crate) struct Plan<'a> {
    pub(crate) settings: Settings,
    pub(crate) image_bytes: u64,
    /// Of mke2fs.
    pub(crate) mke2fs: &'a [&'a str],
    pub(crate) read_only: bool,
    pub(crate) mode: IomapMode,
    /// Whether the server's descriptor is that of a block device.
    pub(crate) is_block_device: bool,
    /// Done before the kernel mounts.
    pub(crate) before_mount: fn(&Handle) -> Result<()>,
}

impl<'a> Plan<'a> {
    /// A kernel of this kind, and an image of 64 MiB.
    pub(crate) fn new(variant: Variant) -> Self {
        Self {
            settings: Settings::new(Personality::of(variant)),
            image_bytes: 64 << 20,
            mke2fs: &["-t", "ext4", "-b", "4096"],
            read_only: false,
            mode: IomapMode::Always,
            is_block_device: true,
            before_mount: |_| Ok(()),
        }
    }

    pub(crate) fn mke2fs(mut self, options: &'a [&'a str]) -> Self {
        self.mke2fs = options;
        self
    }

    pub(crate) fn image_bytes(mut self, image_bytes: u64) -> Self {
        self.image_bytes = image_bytes;
        self
    }
}

/// A mounted image.
pub(crate) struct Rig {
    pub(crate) kernel: Kernel,
    pub(crate) device: Arc<SimDevice>,
    /// Of the server itself.
    pub(crate) activity: Arc<Activity>,
    scratch: Arc<Scratch>,
    image: PathBuf,
    server: Option<JoinHandle<Result<()>>>,
}

impl Rig {
    pub(crate) fn new(plan: &Plan<'_>) -> Result<Self> {
        let scratch = Arc::new(Scratch::new()?);
        let image = scratch.mke2fs("image", plan.image_bytes, plan.mke2fs)?;
        let device = Arc::new(SimDevice::new(plan.image_bytes, 4096));
        load(&image, &device)?;
        Self::over(plan, scratch, image, device)
    }

    /// Mounts what a device holds.
    pub(crate) fn over(
        plan: &Plan<'_>,
        scratch: Arc<Scratch>,
        image: PathBuf,
        device: Arc<SimDevice>,
    ) -> Result<Self> {
        let server_device = ServerDevice::new(Arc::clone(&device))?;
        let activity = server_device.activity();
        let (kernel, side) = Kernel::connect(plan.settings.clone())?;
        let access = match plan.read_only {
            true => Access::Read,
            false => Access::ReadWrite,
        };
        let descriptor = match plan.is_block_device {
            true => Descriptor::Block(Arc::clone(&device), access),
            false => Descriptor::Other,
        };
        (plan.before_mount)(&side.handle)?;
        kernel.plug(server_device.descriptor(), descriptor);
        let (read_only, mode) = (plan.read_only, plan.mode.clone());
        let server = std::thread::spawn(move || serve(server_device, side, read_only, mode));
        let rig = Self {
            kernel,
            device,
            activity,
            scratch,
            image,
            server: Some(server),
        };
        rig.kernel.mount()?;
        match rig.kernel.wait_ready() {
            Ok(()) => Ok(rig),
            Err(errno) => {
                rig.kernel.abort();
                let outcome = rig.ended();
                bail!("the mount failed: {errno}; the server: {outcome:?}")
            }
        }
    }

    /// Unmounts. Nothing was sent that must not be, no block was touched that should not be,
    /// and e2fsck finds nothing to say.
    pub(crate) fn finish(self) -> Result<()> {
        self.finish_with(|_, _| Ok(()))
    }

    /// The same; then the image is looked at.
    pub(crate) fn finish_with(
        mut self,
        look: impl FnOnce(&Path, &Scratch) -> Result<()>,
    ) -> Result<()> {
        self.kernel.unmount().context("unmounting")?;
        self.judge()?;
        look(&self.image, &self.scratch)
    }

    /// Unmounts, judges, and hands on what is left.
    pub(crate) fn unmounted(mut self) -> Result<(Arc<Scratch>, PathBuf, Arc<SimDevice>)> {
        self.kernel.unmount().context("unmounting")?;
        self.judge()?;
        let (scratch, device) = (Arc::clone(&self.scratch), Arc::clone(&self.device));
        Ok((scratch, self.image.clone(), device))
    }

    /// The power goes: of what was not flushed, only some chunks get there. What is left.
    pub(crate) fn cut(
        mut self,
        survives: impl FnMut(u64) -> bool,
    ) -> (Arc<Scratch>, PathBuf, Arc<SimDevice>) {
        // Nothing more is written from here on.
        self.device.set_failing(true);
        self.device.power_cut(survives);
        self.kernel.abort();
        if let Some(server) = self.server.take() {
            // It could not close the volume, as it should not.
            let _ = server.join();
        }
        self.device.set_failing(false);
        let (scratch, device) = (Arc::clone(&self.scratch), Arc::clone(&self.device));
        (scratch, self.image.clone(), device)
    }

    fn judge(&mut self) -> Result<()> {
        let server = self.server.take().context("no server")?;
        match server.join() {
            Ok(served) => served.context("the server")?,
            Err(_) => bail!("the server panicked"),
        }
        let violations = self.kernel.violations();
        ensure!(violations.is_empty(), "violations: {violations:#?}");
        let strays = self.device.strays();
        ensure!(strays.is_empty(), "stray I/O: {strays:#?}");
        store(&self.device, &self.image)?;
        fsck(&self.image)
    }

    fn ended(mut self) -> Result<()> {
        match self.server.take().map(JoinHandle::join) {
            Some(Ok(outcome)) => outcome,
            _ => bail!("the server panicked"),
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.kernel.abort();
            let _ = server.join();
        }
    }
}

fn serve(device: ServerDevice, side: ServerSide, read_only: bool, iomap: IomapMode) -> Result<()> {
    let device: Arc<dyn BlockDevice> = Arc::new(device);
    let options = MountOptions {
        iomap,
        access: fuse_frontend::Access::Other,
        ..MountOptions::new("/", "simulated")
    };
    let connection = Connection {
        channels: side.channels,
        calls: Some(Arc::new(Calls(side.handle))),
    };
    let session = match read_only {
        true => {
            let volume = fs_core::Volume::open(device, &fs_core::OpenOptions::default())?;
            Session::over(connection, volume, &options)?
        }
        false => {
            let volume = WritableVolume::open(device, &WriteOptions::default())?;
            Session::over(connection, volume, &options)?
        }
    };
    Ok(session.serve()?)
}

const PIECE_BYTES: usize = 1 << 20;

/// Brings an image onto a device, but for what is zero there already.
pub(crate) fn load(image: &Path, device: &SimDevice) -> Result<()> {
    let mut file = File::open(image)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    loop {
        let len = file.read(&mut piece)?;
        if len == 0 {
            break;
        }
        for (index, chunk) in piece[..len].chunks(4096).enumerate() {
            if chunk.iter().any(|&byte| byte != 0) {
                device.write_at(at + index as u64 * 4096, chunk)?;
            }
        }
        at += len as u64;
    }
    device.flush();
    Ok(())
}

/// The opposite.
pub(crate) fn store(device: &SimDevice, image: &Path) -> Result<()> {
    let file = File::create(image)?;
    file.set_len(device.size())?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < device.size() {
        let len = PIECE_BYTES.min(usize::try_from(device.size() - at)?);
        let bytes = &mut piece[..len];
        device.read_at(at, bytes)?;
        if bytes.iter().any(|&byte| byte != 0) {
            file.write_all_at(bytes, at)?;
        }
        at += len as u64;
    }
    Ok(())
}
