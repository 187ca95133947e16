# shellcheck shell=bash
# Which kind of kernel a file is, which version, and the modules the guest needs of it.
# Part of tests/vm/run.

# Little-endian number of two bytes at an offset.
u16_at() {
    od -An -tu2 --endian=little -j "$2" -N 2 "$1" | tr -d ' '
}

# uml, bzimage or unknown, by content. A bzImage has "HdrS" at 0x202 (Linux x86 boot protocol).
kernel_kind() {
    local magic
    magic="$(head -c 4 "$1" | od -An -tx1 | tr -d ' ')"
    if [[ "$magic" == 7f454c46 ]] && grep -aq 'uml_dir=' "$1" && grep -aq 'ubd' "$1"; then
        echo uml
    elif [[ "$(od -An -c -j 514 -N 4 "$1" | tr -d ' ')" == HdrS ]]; then
        echo bzimage
    else
        echo unknown
    fi
}

# The release, as uname -r says it. A bzImage has its offset, less 0x200, at 0x20e.
kernel_version() {
    if [[ "$1" == uml ]]; then
        "$2" --version
    else
        tail -c "+$(($(u16_at "$2" 526) + 512 + 1))" "$2" | head -c 256 | tr '\0' '\n' |
            sed -n '1s/ .*//p' || true
    fi
}

# The directory with the modules of a version; empty if there is none.
modules_dir() {
    local version="$1" beside dir
    beside="$(dirname "$2")"
    if [[ -n "${EXTMAP_TEST_MODULES:-}" ]]; then
        set -- "$EXTMAP_TEST_MODULES" "$EXTMAP_TEST_MODULES/$version" \
            "$EXTMAP_TEST_MODULES/lib/modules/$version"
    else
        set -- "$beside/lib/modules/$version" "$beside/../lib/modules/$version" \
            "$beside/../usr/lib/modules/$version" \
            "$beside/../lib/uml/modules/$version" "/usr/lib/uml/modules/$version" \
            "/lib/modules/$version"
    fi
    for dir in "$@"; do
        if [[ -d "$dir/kernel" ]]; then
            readlink -f "$dir"
            return
        fi
    done
    [[ -z "${EXTMAP_TEST_MODULES:-}" ]] ||
        die "no modules of $version in $EXTMAP_TEST_MODULES"
}

declare -A module_paths=() module_seen=()

# Copies a module behind those it depends on to $work/modules, uncompressed and numbered in the
# order of loading. What there is no file of is built in, or missing, which the guest will say.
add_module() {
    local name="${1//-/_}" path copy depends
    path="${module_paths[$name]:-}"
    if [[ -z "$path" || -n "${module_seen[$name]:-}" ]]; then
        return 0
    fi
    module_seen[$name]=1
    case "$path" in
        *.ko) cat "$path" ;;
        *.xz) xz -dc "$path" ;;
        *.zst) zstd -qdc "$path" ;;
        *.gz) gzip -dc "$path" ;;
    esac >"$work/module.ko"
    depends="$(tr '\0' '\n' <"$work/module.ko" | sed -n 's/^depends=//p')"
    copy="$work/next-$name.ko"
    mv "$work/module.ko" "$copy"
    for depends in ${depends//,/ }; do
        add_module "$depends"
    done
    module_count=$((module_count + 1))
    mv "$copy" "$work/modules/$(printf '%03d' "$module_count")-$name.ko"
}

gather_modules() {
    local kind="$1" dir path name
    module_count=0
    dir="$(modules_dir "$2" "$3")"
    if [[ -z "$dir" ]]; then
        echo "no modules of $2 found: everything has to be built in"
        return 0
    fi
    while read -r path; do
        name="$(basename "$path")"
        name="${name%%.ko*}"
        module_paths[${name//-/_}]="$path"
    done < <(find "$dir" -name '*.ko*')
    if [[ "$kind" == bzimage ]]; then
        for name in virtio_pci virtio_blk 9pnet_virtio 9p; do
            add_module "$name"
        done
    fi
    # ext4 asks for crc32c by its name among ciphers, which no dependency says.
    for name in crc32c_generic overlay loop fuse ext4; do
        add_module "$name"
    done
}
