#!/bin/sh
# The role and the database of Roomcast, on the first start. It owns its tables, may replicate, and is no superuser.
set -eu
psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" \
    -v password="$(cat /run/roomcast/postgres-password)" <<'SQL'
create role roomcast login replication password :'password';
create database roomcast owner roomcast;
SQL
