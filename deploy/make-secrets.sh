#!/bin/sh
# Makes the secrets of this installation, once, in the folder that its services share: nobody has to invent one, and none
# is in the repository. What the environment names instead is used instead (see .env).
set -eu
cd /run/roomcast

random() { od -An -v -N32 -tx1 /dev/urandom | tr -d ' \n'; }
# once FILE TEXT: renamed when it is whole, so that a kill in between leaves nothing half written.
once() { [ -s "$1" ] || { printf %s "$2" >"$1.new" && mv "$1.new" "$1"; }; }

for name in token-secret api-key internal-key postgres-password; do once "$name" "$(random)"; done
once database-url "postgres://roomcast:$(cat postgres-password)@postgres:5432/roomcast"
