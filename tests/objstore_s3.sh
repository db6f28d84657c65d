#!/usr/bin/env bash
# The object store's contract against a real S3 server. With S3_ENDPOINT (and S3_ACCESS_KEY,
# S3_SECRET_KEY, S3_BUCKET) set, that server is used; else a RADOS gateway is started on loopback and
# stopped again. The test makes its bucket itself and works below a random prefix.
#
#   objstore_s3.sh [PROGRAM…]    programs to run with S3_ENDPOINT set;
#                                default: build/release/tests/unit/objstore/test_objstore_contract
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
[ $# -gt 0 ] || set -- build/release/tests/unit/objstore/test_objstore_contract

if [ -z "${S3_ENDPOINT:-}" ]; then
    dir=$(mktemp -d "${TMPDIR:-/tmp}/rubato-radosgw-XXXXXX")
    trap '"$here/support/radosgw" stop "$dir"; rm -rf "$dir"' EXIT
    settings=$("$here/support/radosgw" start "$dir")
    eval "$settings"
    export no_proxy=${no_proxy:-127.0.0.1}
fi
export S3_ENDPOINT S3_ACCESS_KEY S3_SECRET_KEY

"$here/run-unit" "$@"
