#!/usr/bin/env bash
# Builds libweir and installs it: the shared library, the static one, the headers, and files for pkg-config.
set -euo pipefail

usage() {
  cat <<'END'
usage: ffi/install.sh [--prefix DIR] [--libdir DIR] [--destdir DIR] [--tier1] [--profile NAME] [--from DIR]

  --prefix DIR     where it will be used (/usr/local)
  --libdir DIR     where the libraries go (PREFIX/lib)
  --destdir DIR    where it is put for now, in front of these: for packages
  --tier1          the engine only: without a whole proxy, sockets, threads and TLS
  --profile NAME   cargo's profile (release)
  --from DIR       build nothing: install the libweir_ffi.so and .a of that folder
END
}

prefix=/usr/local libdir='' destdir='' profile=release from='' features=()
while [ $# -gt 0 ]; do
  case "$1" in
    --prefix | --libdir | --destdir | --profile | --from)
      [ $# -ge 2 ] || { usage >&2; exit 2; }
      declare "${1#--}=$2"
      shift
      ;;
    --tier1) features=(--no-default-features) ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
  shift
done
prefix=$(realpath -ms "$prefix")
libdir=${libdir:-$prefix/lib}

here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../Cargo.toml")
# The first number that programs may rely on: see ffi/build.rs.
abi=${version%%.*}

# What a program needs beside libweir.a: rustc knows.
if [ -z "$from" ]; then
  case "$profile" in dev | test) folder=debug ;; bench) folder=release ;; *) folder=$profile ;; esac
  from=$(realpath -m "${CARGO_TARGET_DIR:-$here/../target}/$folder")
  said=$(mktemp)
  trap 'rm -f "$said"' EXIT
  (cd "$here/.." && cargo rustc --locked -p weir-ffi --lib --profile "$profile" "${features[@]}" -- --print native-static-libs) 2>&1 |
    tee "$said" >&2
  needs=$(sed -n 's/^note: native-static-libs: //p' "$said" | tail -n 1)
else
  empty=$(mktemp -d)
  trap 'rm -rf "$empty"' EXIT
  needs=$(rustc --crate-type staticlib --crate-name empty --print native-static-libs --out-dir "$empty" - </dev/null 2>&1 |
    sed -n 's/^note: native-static-libs: //p')
fi
[ -n "$needs" ] || { echo "install.sh: rustc does not say what libweir.a needs" >&2; exit 1; }

lib=$destdir$libdir include=$destdir$prefix/include
mkdir -p "$lib/pkgconfig" "$include"
install -m 755 "$from/libweir_ffi.so" "$lib/libweir.so.$version"
install -m 644 "$from/libweir_ffi.a" "$lib/libweir.a"
strip --strip-unneeded "$lib/libweir.so.$version"
# The bitcode in it is for rustc alone, and nine tenths of the file.
strip --strip-debug --remove-section=.llvmbc --remove-section=.llvmcmd "$lib/libweir.a"
ln -sf "libweir.so.$version" "$lib/libweir.so.$abi"
ln -sf "libweir.so.$abi" "$lib/libweir.so"
install -m 644 "$here/../include/weir.h" "$here/../include/weir.hpp" "$include/"

what='an L7 proxy that runs the v3 configuration of Envoy'
[ ${#features[@]} -eq 0 ] || what="the engine of $what"
pc() { # name, libs, further lines
  cat >"$lib/pkgconfig/$1.pc" <<END
prefix=$prefix
libdir=$libdir
includedir=$prefix/include

Name: $1
Description: $what
Version: $version
Cflags: -I\${includedir}
Libs: $2
END
}
pc weir "-L\${libdir} -lweir"
echo "Libs.private: $needs" >>"$lib/pkgconfig/weir.pc"
# The linker takes the shared library where it finds both: this names the other.
pc weir-static "\${libdir}/libweir.a $needs"

echo "libweir $version is in $lib, its headers in $include"
if [ -z "$destdir" ] && ! { command -v pkg-config >/dev/null && pkg-config --exists weir; }; then
  echo "for pkg-config: export PKG_CONFIG_PATH=$libdir/pkgconfig; for programs: LD_LIBRARY_PATH=$libdir or ldconfig"
fi
