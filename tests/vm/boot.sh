# shellcheck shell=bash
# Boots the guest in a sandbox: namespaces of its own for mounts and processes, in which the
# host's files are read-only but for $work, and which dies with the process at its head.
# Part of tests/vm/run.

# A device of the guest: its first disk is "a".
disk_name() {
    [[ "$kind" == uml ]] && echo "/dev/ubd$1" || echo "/dev/vd$1"
}

# Some machines have a /dev/kvm that opens but whose processor cannot: there a guest crawls.
accelerator() {
    if [[ "$1" == uml ]]; then
        echo uml
    elif [[ -n "${EXTMAP_TEST_ACCEL:-}" ]]; then
        echo "$EXTMAP_TEST_ACCEL"
    elif grep -qwE 'vmx|svm' /proc/cpuinfo && [[ -r /dev/kvm && -w /dev/kvm ]]; then
        echo kvm
    else
        echo tcg
    fi
}

default_patience() {
    case "$accel" in
        kvm) echo 1 ;;
        uml) echo 3 ;;
        *) echo 6 ;;
    esac
}

# The first stage of a qemu guest: modules, then the host's files as root.
make_initramfs() {
    local tree="$work/initramfs" program
    for program in qemu-system-x86_64 cpio gzip; do
        command -v "$program" >/dev/null ||
            die "$program not found (Debian: qemu-system-x86, cpio)"
    done
    ! LC_ALL=C ldd "$busybox" >/dev/null 2>&1 ||
        die "$busybox is not linked statically (Debian: busybox-static)"
    mkdir -p "$tree"/{bin,dev,proc,host}
    cp "$busybox" "$tree/bin/busybox"
    cp "$here/initramfs-init" "$tree/init"
    cp -r "$work/modules" "$tree/modules"
    (cd "$tree" && find . | cpio --quiet -o -H newc | gzip -1) >"$work/initramfs.gz"
    rm -r "$tree"
}

# Runs the arguments with all mounts read-only but $work, as first process of a namespace.
sandbox() {
    local users=()
    [[ "$(id -u)" == 0 ]] || users=(--user --map-root-user)
    # The script's variables are its own.
    # shellcheck disable=SC2016
    exec unshare "${users[@]}" --mount --propagation private --pid --fork --kill-child \
        sh -euc '
            work="$1"
            shift
            mount --bind "$work" "$work"
            mount -t tmpfs -o size=100% memory "$work/memory"
            while read -r _ dir _; do
                case "$dir" in
                    "$work" | "$work"/*) ;;
                    *) mount -o remount,bind,ro "$(printf "%b" "$dir")" 2>/dev/null || true ;;
                esac
            done <"/proc/self/mounts"
            if touch "$work/../extmap-vm-probe" 2>/dev/null; then
                rm -f "$work/../extmap-vm-probe"
                echo "extmap-vm: the files of the host are not read-only" >&2
                exit 1
            fi
            exec "$@"
        ' sandbox "$work" "$@"
}

# With panic=-1 it would boot again.
uml_command() {
    command_line=("$kernel" "mem=${memory_mib}M" "ubd0=$work/out.img" "ubd1=$work/disk.img"
        "ubd2=$work/scratch.img"
        root=/dev/root rootfstype=hostfs rootflags=/ ro "init=$here/init"
        con=null con0=null,fd:1 ssl=null "uml_dir=$work/memory" umid=extmap)
}

qemu_command() {
    local words="console=ttyS0 panic=-1 $*" disk
    command_line=(qemu-system-x86_64 -accel "$accel" -cpu max -smp 2 -m "$memory_mib"
        -nodefaults -no-user-config -display none -no-reboot -serial stdio
        -kernel "$kernel" -initrd "$work/initramfs.gz" -append "$words"
        -fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap
        -device virtio-9p-pci,fsdev=host,mount_tag=host)
    for disk in out disk scratch; do
        command_line+=(-drive "file=$work/$disk.img,format=raw,if=none,id=$disk,cache=unsafe"
            -device "virtio-blk-pci,drive=$disk")
    done
    # With a thread for each processor qemu 7.2 makes Linux 6.12 stumble, in code it patches.
    if [[ "$accel" == kvm ]]; then
        command_line[4]=host
    else
        command_line[2]="$accel,thread=single"
    fi
}

# Returns when the guest has ended or its time is over; $outcome says which.
boot() {
    local deadline=$((SECONDS + limit_s)) common command_line
    # Kernels hand words they do not know to init, as its environment. printk.time tells the
    # kernel's lines from the tests' on the console.
    common=(printk.time=1 "EXTMAP_VM_WORK=$work" "EXTMAP_VM_DIR=$here"
        "EXTMAP_VM_BUSYBOX=$busybox")
    # Words are split on purpose.
    # shellcheck disable=SC2206
    common+=(${EXTMAP_TEST_APPEND:-})
    if [[ "$kind" == uml ]]; then
        uml_command
        command_line+=("${common[@]}")
    else
        qemu_command "${common[@]}"
    fi
    TMPDIR="$work/memory" sandbox "${command_line[@]}" </dev/null >"$work/console" 2>&1 &
    sandbox_pid=$!
    outcome=ended
    while kill -0 "$sandbox_pid" 2>/dev/null; do
        if ((SECONDS >= deadline)); then
            outcome="killed after $limit_s seconds"
            kill -KILL "$sandbox_pid" 2>/dev/null || true
            break
        fi
        if grep -aq 'Kernel panic - not syncing' "$work/console"; then
            # Not every kernel ends by itself then. The trace may still be on its way.
            sleep 2
            outcome="the kernel panicked"
            kill -KILL "$sandbox_pid" 2>/dev/null || true
            break
        fi
        sleep 0.5
    done
    wait "$sandbox_pid" 2>/dev/null || true
    sandbox_pid=""
}
