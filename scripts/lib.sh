# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 OR MIT
# What the scripts share: messages, Debian packages, the cache, kernels and initial RAM disks. Sourced, never run.
set -euo pipefail
shopt -s inherit_errexit
umask 022
# Users other than root lack the sbin folders on Debian; mkfs.fat, sfdisk and modprobe live there.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export VPC_ROOT
VPC_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VPC_CACHE=$(realpath -m "${VPC_CACHE:-${HOME:-/root}/.cache/virtualpc}")
mkdir -p "$VPC_CACHE/locks"

note() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { note "$@"; exit 1; }

# step WORDS COMMAND...: runs one step of a longer script, with its time.
STEP=0
step() {
  local words=$1 start=$EPOCHREALTIME; shift
  STEP=$((STEP + 1))
  printf '\n=== %d. %s\n' "$STEP" "$words"
  "$@"
  awk -v n="$STEP" -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "=== %d. done in %.1f s\n", n, b - a }'
}

# --- Debian packages ------------------------------------------------------------------------------------------------------------------

# package:what it must bring (a command, or a file). The one list of what is installed; names hold on Debian 12, 13 and Ubuntu 24.04.
# Kernels, busybox-static, memtest86+ and iPXE are only downloaded and unpacked (fetch_debs): installing those would change the host's
# boot menu, or replace its busybox.
packages_of() {
  case $1 in
    build) echo gcc:cc libc6-dev:/usr/include/stdlib.h ;;
    rust) echo curl:curl ca-certificates:/etc/ssl/certs/ca-certificates.crt ;;
    run) echo seabios:/usr/share/seabios/bios-256k.bin ;;
    lab) echo qemu-system-x86:qemu-system-x86_64 cpio:cpio kmod:modprobe xz-utils:xz zstd:zstd ;;
    guests)
      echo nasm:nasm xorriso:xorriso dosfstools:mkfs.fat mtools:mcopy e2fsprogs:mke2fs fdisk:sfdisk cpio:cpio kmod:modprobe xz-utils:xz zstd:zstd lz4:lz4 \
        grub-common:grub-mkrescue grub-pc-bin:/usr/lib/grub/i386-pc/boot.img hdparm:hdparm sg3-utils:sg_inq fio:fio ;;
    demo) echo "$(packages_of build) $(packages_of run) $(packages_of lab) $(packages_of guests)" ;;
    fuzz) echo "$(packages_of build) g++:c++" ;;
    test) echo "$(packages_of demo) $(packages_of fuzz) shellcheck:shellcheck qemu-utils:qemu-img libvhdi-utils:vhdiinfo libnbd-bin:nbdinfo ntfs-3g:ntfscp genisoimage:isoinfo p7zip-full:7z" ;;
    bench) echo "$(packages_of demo) qemu-utils:qemu-img fio:fio strace:strace valgrind:valgrind libnbd-bin:nbdcopy nbdkit:nbdkit" ;;
    api) echo python3-venv:/usr/share/doc/python3-venv curl:curl util-linux:setpriv ;;
    windows) echo gcc-mingw-w64-x86-64-posix:x86_64-w64-mingw32-gcc-posix wine64:/usr/lib/wine/wine64 ;;
    windows-rust) echo libllvm22:/usr/share/doc/libllvm22 libgit2-1.5:/usr/lib/x86_64-linux-gnu/libgit2.so.1.5 ;;
    *) die "no package set named '$1' (build, rust, run, lab, guests, demo, fuzz, test, bench, api, windows, windows-rust)" ;;
  esac
}

has() { case $1 in /*) [ -e "$1" ] ;; *) command -v "$1" >/dev/null ;; esac; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "needs root for: $* (run this script as root once, or install sudo)"; fi
}

# One apt at a time among our scripts; apt waits for other people's dpkg by itself.
apt_update() { as_root apt-get update -qq >&2; }
apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@" >&2
}

# ensure SET...: installs the packages of the sets whose command or file is not there.
ensure() {
  local set entry missing=()
  for set in "$@"; do
    for entry in $(packages_of "$set"); do
      has "${entry#*:}" || missing+=("${entry%%:*}")
    done
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  command -v apt-get >/dev/null || die "needs these programs' packages, named here as Debian names them: ${missing[*]}"
  note "installing ${missing[*]}"
  (
    flock 9
    # A fresh image has no package lists; lists that are old name files that are gone.
    apt-cache show "${missing[@]}" >/dev/null 2>&1 || apt_update
    apt_install "${missing[@]}" || { apt_update; apt_install "${missing[@]}"; } || die "could not install ${missing[*]}"
  ) 9>"$VPC_CACHE/locks/apt"
}

# fetch_debs FOLDER PACKAGE...: unpacks packages into FOLDER; nothing is installed.
fetch_debs() {
  local into=$1 debs deb; shift
  debs=$(mktemp -d "$VPC_CACHE/debs.XXXXXX")
  (
    trap 'rm -rf "$debs"' EXIT
    exec 9>"$VPC_CACHE/locks/apt"; flock 9
    cd "$debs"
    apt_download "$@" || { apt_update; apt_download "$@"; } || die "could not download $*"
    for deb in *.deb; do dpkg -x "$deb" "$into"; done
  )
}
# qemu_img_path: prints where a qemu-img is, the newest that the distribution has. Debian 12's own lacks what its backports have; that
# one is unpacked into the cache with qemu-io beside it, not installed.
qemu_img_path() {
  local path=$VPC_CACHE/qemu-utils-backports
  if [ "$(. /etc/os-release && echo "$ID$VERSION_ID")" = debian12 ] && (cached "$path" make_qemu_img) >&2; then echo "$path/usr/bin/qemu-img"
  else ensure bench && command -v qemu-img; fi
}
make_qemu_img() {
  local apt; apt=$(mktemp -d "$VPC_CACHE/apt.XXXXXX")
  (
    trap 'rm -rf "$apt"' EXIT
    mkdir -p "$apt"/{lists,cache/archives}/partial
    echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian bookworm-backports main' >"$apt/list"
    options=(-qq -o "Dir::Etc::sourcelist=$apt/list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache"
      -o APT::Sandbox::User=root)
    cd "$apt"
    apt-get "${options[@]}" update && apt-get "${options[@]}" download qemu-utils && dpkg -x qemu-utils_*.deb "$1" && "$1/usr/bin/qemu-img" --version
  ) || exit 1
}
apt_download() { apt-get download -qq -o APT::Sandbox::User=root "$@" >&2; }

# ensure_rust: cargo with clippy and rustfmt, by rustup where there is none.
ensure_rust() {
  PATH=$PATH:${HOME:-/root}/.cargo/bin
  if ! has cargo; then
    ensure rust
    note "installing Rust by rustup"
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y -q --profile minimal -c clippy,rustfmt >&2
  fi
  cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add clippy rustfmt >&2 \
    || die "cargo has no clippy or rustfmt, and no rustup to add them"
}

# --- The cache ------------------------------------------------------------------------------------------------------------------------

# cached PATH COMMAND...: if PATH is missing, COMMAND fills a new folder, given as its last argument, that becomes PATH in one step:
# two scripts may ask at once, and a builder that dies leaves nothing.
cached() {
  local path=$1; shift
  [ ! -e "$path" ] || return 0
  mkdir -p "${path%/*}"
  (
    flock 8
    [ ! -e "$path" ] || exit 0
    new=$(mktemp -d "$path.XXXXXX"); trap 'rm -rf "$new"' EXIT
    chmod 755 "$new"
    "$@" "$new"
    mv -T "$new" "$path"
  ) 8>"$VPC_CACHE/locks/${path##*/}"
}

# hash_of: a short name for what comes on standard input.
hash_of() { sha256sum | cut -c1-16; }

# --- Kernels and initial RAM disks ----------------------------------------------------------------------------------------------------

# kernel_path FLAVOUR (standard or cloud): prints the folder of the distribution's kernel: version, vmlinuz, vmlinux (if it could be
# unpacked: the PVH ELF inside vmlinuz) and lib/modules. It is downloaded once; remove the folder to get a newer one.
kernel_path() {
  local path; path=$VPC_CACHE/kernel/$1-$(declare -f make_kernel extract_vmlinux | hash_of)
  cached "$path" make_kernel "$1"
  echo "$path"
}

make_kernel() {
  local meta packages=() todo name into=$2
  case $1 in
    standard) meta=(linux-image-amd64 linux-image-generic) ;;
    cloud) meta=(linux-image-cloud-amd64 linux-image-virtual) ;; # Ubuntu's has the drivers of its generic kernel
    *) die "no kernel named '$1' (standard, cloud)" ;;
  esac
  command -v apt-get >/dev/null || die "needs apt-get to download the guest kernel"
  for name in "${meta[@]}"; do apt-cache show "$name" >/dev/null 2>&1 && break; done || {
    (flock 9; apt_update) 9>"$VPC_CACHE/locks/apt"
    for name in "${meta[@]}"; do apt-cache show "$name" >/dev/null 2>&1 && break; done || die "no package named ${meta[*]}"
  }
  # The meta package names the image; on Ubuntu the modules are packages of their own.
  todo=("$name")
  while [ ${#todo[@]} -gt 0 ]; do
    name=${todo[0]}; todo=("${todo[@]:1}")
    mapfile -t -O ${#todo[@]} todo < <(apt-cache depends "$name" | sed -nE 's/^[ |]*(Pre)?Depends: (linux-(image|modules|modules-extra)-[0-9].*)/\2/p')
    [[ $name != *[0-9].[0-9]* ]] || [[ " ${packages[*]} " = *" $name "* ]] || packages+=("$name")
  done
  [ ${#packages[@]} -gt 0 ] || die "found no kernel package behind ${meta[*]}"
  note "downloading ${packages[*]}"
  fetch_debs "$into" "${packages[@]}"
  [ -d "$into/lib/modules" ] || { mkdir -p "$into/lib"; mv "$into/usr/lib/modules" "$into/lib/modules"; }
  ls "$into/lib/modules" >"$into/version"
  mv "$into"/boot/vmlinuz-* "$into/vmlinuz"
  # Four fifths of the modules are for hardware that no guest has.
  (cd "$into/lib/modules/"*/kernel && rm -rf sound drivers/{gpu,media,staging,infiniband,iio,hwmon,usb,scsi/[a-p]*,net/{wireless,ethernet}})
  rm -rf "${into:?}/boot" "${into:?}/usr"
  depmod -b "$into" "$(cat "$into/version")" 2>/dev/null
  extract_vmlinux "$into/vmlinuz" >"$into/vmlinux" || rm "$into/vmlinux"
}

# extract_vmlinux BZIMAGE: the ELF kernel in it (boot protocol 2.08: payload_offset at 248h, from the protected-mode part).
extract_vmlinux() {
  local setup offset length magic
  setup=$(od -An -tu1 -j$((0x1f1)) -N1 "$1"); read -r offset length < <(od -An -tu4 -j$((0x248)) -N8 "$1")
  offset=$(((setup + 1) * 512 + offset))
  magic=$(od -An -tx1 -j"$offset" -N4 "$1" | tr -d ' ')
  # The last four bytes are the unpacked length, which only gzip knows about.
  [[ $magic = 1f8b* ]] || length=$((length - 4))
  dd if="$1" bs=64K iflag=skip_bytes,count_bytes skip="$offset" count="$length" status=none | case $magic in
    fd377a58) xz -dc ;; 1f8b*) gzip -dc ;; 28b52ffd) zstd -dc ;; 02214c18) lz4 -dc ;; *) false ;;
  esac
}

busybox_path() {
  cached "$VPC_CACHE/busybox-static" make_busybox
  echo "$VPC_CACHE/busybox-static/busybox"
}
make_busybox() {
  fetch_debs "$1" busybox-static
  local binary=$1/bin/busybox; [ -x "$binary" ] || binary=$1/usr/bin/busybox
  mv "$binary" "$1/busybox"; rm -rf "${1:?}/bin" "${1:?}/usr"
}

# initrd_base FOLDER KERNEL MODULE...: busybox with all its commands, and the modules with what they need, numbered in the order of
# loading. A module that the kernel has built in, or does not have, is left out.
initrd_base() {
  local root=$1 kernel=$2 version module file n=100 list; shift 2
  version=$(cat "$kernel/version")
  mkdir -p "$root"/{bin,sbin,dev,proc,sys,modules}
  cp "$(busybox_path)" "$root/bin/busybox"
  list=$("$root/bin/busybox" --list)
  for file in $list; do [ "$file" = busybox ] || ln -s busybox "$root/bin/$file"; done
  list=$(for module in "$@"; do
    modprobe -d "$kernel" -S "$version" --show-depends "$module" 2>/dev/null | sed -nE 's/^insmod ([^ ]+).*/\1/p' || true
  done | awk '!seen[$0]++')
  for file in $list; do
    module=$root/modules/$n-$(basename "$file"); n=$((n + 1))
    case $file in
      *.xz) xz -dc "$file" >"${module%.xz}" ;; *.zst) zstd -dcq "$file" >"${module%.zst}" ;; *.gz) gzip -dc "$file" >"${module%.gz}" ;;
      *) cp "$file" "$module" ;;
    esac
  done
}

# pack_initrd FOLDER FILE: a bare cpio archive; under emulation the guest's gunzip would cost more than the copy.
pack_initrd() { (cd "$1" && find . -print0 | sort -z | cpio -0 -o -H newc -R 0:0 --quiet) >"$2"; }
