#!/bin/sh
# Renews the lock files: every package of a tree with its version and the hashes of all its files, for each Python and platform
# at once. The newest versions that the sources allow are taken; `lock.sh --keep` changes only what the sources ask for.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
upgrade=--upgrade UV=${UV:-uv}
case $UV in */*) UV=$(cd "$(dirname "$UV")" && pwd)/$(basename "$UV") ;; esac  # it is started in other folders too
[ "${1:-}" != --keep ] || upgrade=

# lock SOURCE OUTPUT WHAT-THE-HEADER-SAYS [OPTION...]
lock() {
  source=$1 output=$2 header=$3
  shift 3
  echo "$(pwd)/$output" | sed "s|^$root/||"
  "$UV" pip compile --quiet --no-config $upgrade --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
    --no-emit-find-links --no-annotate --custom-compile-command "$header" "$@" "$source" --output-file "$output"
}

lock setup.py requirements/dev.txt 'make lock' --extra dev
for source in requirements/*.in; do
  lock "$source" "${source%.in}.txt" 'make lock'
done
# An example's lock file names the requirements.txt that it was made of by its hash: see docs/node.md, "What an image is made of".
for folder in node_template/*/; do
  [ -f "${folder}requirements.txt" ] || continue
  (cd "$folder" && lock requirements.txt requirements.lock "$(sha256sum requirements.txt)")
done
