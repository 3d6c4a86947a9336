#!/bin/sh
# Builds dist/proxyd-image.tar, a compressed oci-archive, from Debian's and PyPI's packages.
#
# The image's Debian is the release whose Python runs this script (3.11: bookworm, 3.13: trixie), because the compiled
# dependencies belong to one minor version. Needs root, mmdebstrap and buildah.
# Variables: PYTHON (with pip, default .venv/bin/python), SUITE, OUT (default dist/proxyd-image.tar).
set -eu
cd "$(dirname "$0")/../.."

python=${PYTHON:-.venv/bin/python}
version=$("$python" -c 'import sys; print("3.%d" % sys.version_info[1])')
case $version in
3.11) suite=${SUITE:-bookworm} ;;
3.13) suite=${SUITE:-trixie} ;;
*) suite=${SUITE:?no Debian release is known for Python $version; name one that has it} ;;
esac
out=${OUT:-dist/proxyd-image.tar}
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/rootfs

# Packages are unpacked and not configured: no maintainer script runs. What each of them was is kept where scanners
# of images look, and the licences stay.
mmdebstrap --quiet --variant=extract \
    --include="base-files,netbase,python$version-minimal,libpython$version-stdlib" \
    --extract-hook='mkdir -p "$1/var/lib/dpkg/status.d"
        for deb in "$1"/var/cache/apt/archives/*.deb; do
            dpkg-deb --field "$deb" >"$1/var/lib/dpkg/status.d/$(dpkg-deb --field "$deb" Package)"
        done' \
    "$suite" "$root"

# What comes along as a dependency of maintainer scripts alone goes again.
for package in dpkg mawk tar install-info readline-common; do
    rm -rf "$root/var/lib/dpkg/status.d/$package" "$root/usr/share/doc/$package"
done
find "$root/usr/share/doc" ! -type d ! -name copyright -delete
find "$root" -type d -name __pycache__ -prune -exec rm -rf {} +
for needless in boot home media mnt opt srv root \
    bin/tar usr/bin/tar usr/sbin sbin usr/share/man usr/share/locale usr/share/info usr/share/lintian \
    usr/share/bug usr/share/doc-base usr/share/dpkg usr/share/mime usr/share/perl5 \
    var/backups var/cache var/local var/log var/mail var/opt var/spool \
    etc/apt etc/cron.daily etc/logrotate.d etc/skel etc/update-motd.d etc/resolv.conf etc/hostname \
    usr/lib/apt usr/lib/dpkg usr/lib/mime; do
    rm -rf "${root:?}/$needless"
done
find "$root/usr/bin" ! -type d ! -name 'python*' -delete

user=65532
printf 'root:x:0:0:root:/nonexistent:/usr/sbin/nologin\nproxyd:x:%s:%s:proxyd:/var/lib/proxyd:/usr/sbin/nologin\n' \
    $user $user >"$root/etc/passwd"
printf 'root:x:0:\nproxyd:x:%s:\n' $user >"$root/etc/group"
printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
install -d -m 0700 -o $user -g $user "$root/var/lib/proxyd"
install -d -m 0755 -o $user -g $user "$root/run/proxyd"
install -d -m 1777 "$root/tmp"

mkdir "$stage/context"
"$python" packaging/bundle.py "$stage/context/bundle"
install -D -m 0644 "$stage/context/bundle/lib/python$version/site-packages/certifi/cacert.pem" \
    "$root/etc/ssl/certs/ca-certificates.crt"
tar --numeric-owner --sort=name -C "$root" -cf "$stage/context/rootfs.tar" .
cp packaging/container/proxyd.yaml packaging/container/Containerfile "$stage/context/"

storage="--storage-driver vfs --root $stage/storage --runroot $stage/run"
# shellcheck disable=SC2086
image=$(buildah $storage bud --quiet --isolation chroot --timestamp 0 "$stage/context")
mkdir -p "$(dirname "$out")"
rm -f "$out"
# shellcheck disable=SC2086
buildah $storage push --quiet --compression-format gzip "$image" "oci-archive:$out:proxyd"
ls -l "$out"
