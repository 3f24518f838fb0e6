# What the scripts here share: installing what is missing. Sourced, not run.

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Installs packages with apt; fails where there is no apt or no right to.
install() {
    export DEBIAN_FRONTEND=noninteractive
    command -v apt-get >/dev/null || return 1
    as_root apt-get install -y --no-install-recommends "$@" >/dev/null 2>&1 && return
    as_root apt-get update >/dev/null 2>&1 && as_root apt-get install -y --no-install-recommends "$@" >/dev/null
}

command -v cargo >/dev/null || { echo "error: cargo is missing: https://rustup.rs" >&2; exit 1; }
command -v cc >/dev/null || install gcc libc6-dev || echo "note: no C linker, and it cannot be installed" >&2

# libbpf, for the kernel tier, is compiled from its sources; it needs these.
if [ ! -e /usr/include/libelf.h ] || [ ! -e /usr/include/zlib.h ] || ! command -v make >/dev/null ||
    ! command -v pkg-config >/dev/null; then
    install make pkg-config libelf-dev zlib1g-dev ||
        echo "note: libelf-dev, zlib1g-dev, make and pkg-config cannot be installed here; the kernel tier is left out" >&2
fi

# Texts in bcc's dialect need a compiler; it also checks the fixtures.
if ! command -v clang-19 >/dev/null || ! command -v llvm-strip-19 >/dev/null; then
    install clang-19 llvm-19 || echo "note: clang-19 and llvm-19 cannot be installed here; objects are not rebuilt" >&2
fi

# Kernels come from Debian's archive, also on machines with other sources: its keys are in this package.
if command -v apt-get >/dev/null && [ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ] &&
    [ ! -e /usr/share/keyrings/debian-archive-keyring.pgp ]; then
    install debian-archive-keyring ||
        echo "note: debian-archive-keyring cannot be installed here; there may be no kernels to run on" >&2
fi

# Real kernels run in virtual machines.
command -v qemu-system-x86_64 >/dev/null || install qemu-system-x86 ||
    echo "note: qemu-system-x86 cannot be installed here; nothing runs on real kernels" >&2

# So do arm64 programs, where the toolchain can build the init of such machines.
if command -v rustup >/dev/null && timeout 120 rustup target add aarch64-unknown-linux-musl >/dev/null 2>&1; then
    { command -v qemu-system-aarch64 && command -v aarch64-linux-gnu-gcc; } >/dev/null ||
        install qemu-system-arm gcc-aarch64-linux-gnu libc6-dev-arm64-cross ||
        echo "note: qemu-system-arm and gcc-aarch64-linux-gnu cannot be installed here; nothing runs on arm64 kernels" >&2
else
    echo "note: there is no target aarch64-unknown-linux-musl for this toolchain; nothing runs on arm64 kernels" >&2
fi
