# The verbs of this repository. `just` lists them; each is also a plain command.

_list:
    @just --list --unsorted

# builds and starts the demo
run *arguments:
    ./run {{ arguments }}

# everything, or the parts named: lint web rust browser python
test *parts:
    ./test {{ parts }}

# what a reviewer would say anyway
lint:
    ./test lint

# formats the Rust code
format:
    cargo fmt --all

# refreshes .sqlx after a change of SQL or migrations
sqlx:
    scripts/sqlx-prepare

# licences, sources and who may use what; needs cargo-deny
deny:
    cargo deny check bans licenses sources

# known vulnerabilities; needs cargo-deny and the network
audit:
    cargo deny check advisories

# a private PostgreSQL with the tables, for psql and for `query!` in an editor; ends with the shell it opens
database:
    cargo run --quiet -p embedded-postgres --bin with-postgres -- --migrations backend/migrations "${SHELL:-sh}"

# measures everything, on a release build
bench *arguments:
    bench/run {{ arguments }}
