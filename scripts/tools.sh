# shellcheck shell=bash
# What ./run and ./test share: saying things, checking tools, installing system packages. Sourced, not run.
#
# On Debian and Ubuntu, as root or with sudo, system packages are installed, and said so. Everything else that is missing
# is named together with how to get it, all at once, so that nobody runs in circles.

RUST_AT_LEAST=1.94
NODE_AT_LEAST=20
JAVA_AT_LEAST=17

missing=()

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
plain_say() { printf '==> %s\n' "$*" >&2; }
[[ -t 2 ]] || say() { plain_say "$@"; }

fail() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# at_least 1.95.0 1.94
at_least() { [[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" == "$2" ]]; }

as_root() { if [[ "$(id -u)" == 0 ]]; then "$@"; else sudo "$@"; fi; }

# Whether system packages can be installed here without asking a question that nobody can answer.
can_install() {
    have apt-get && [[ -f /etc/debian_version ]] || return 1
    [[ "$(id -u)" == 0 ]] && return 0
    have sudo && { [[ -t 0 ]] || sudo -n true 2>/dev/null; }
}

packages_are_listed=
list_packages() {
    [[ -n "$packages_are_listed" ]] && return
    say "updating the list of packages (apt-get update)"
    as_root apt-get update -qq >&2
    packages_are_listed=yes
}

install_packages() {
    list_packages
    say "installing system packages (apt-get install): $*"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

# The version that apt-get would install, without epoch; empty when there is none.
candidate() {
    apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: \([0-9]*:\)\{0,1\}//p' | grep -v '(none)' || true
}

# C for the cryptography; C++ and make for librdkafka, which the relay reads Kafka with.
need_cc() {
    have cc && have c++ && have make && return
    if can_install; then install_packages gcc g++ libc6-dev make; fi
    local tool
    for tool in cc c++ make; do
        have "$tool" && continue
        missing+=("$tool, of a C and C++ toolchain: apt-get install gcc g++ libc6-dev make, or xcode-select --install on macOS")
    done
}

rust_version() { cargo --version 2>/dev/null | sed -n 's/^cargo \([0-9.]*\).*/\1/p' || true; }

need_rust() {
    have cargo || PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin"
    if ! have cargo && can_install; then
        list_packages
        if [[ -n "$(candidate rustup)" ]]; then
            install_packages rustup
            rustup toolchain install stable --profile minimal --component rustfmt --component clippy >&2
        fi
    fi
    local version
    version="$(rust_version)"
    if [[ -z "$version" ]]; then
        missing+=("Rust $RUST_AT_LEAST or newer: https://rustup.rs")
    elif ! at_least "$version" "$RUST_AT_LEAST"; then
        missing+=("Rust $RUST_AT_LEAST or newer (this is $version): rustup update stable, or https://rustup.rs")
    fi
}

node_version() { node --version 2>/dev/null | sed 's/^v//' || true; }

need_node() {
    if ! have node && can_install; then
        list_packages
        local offered
        offered="$(candidate nodejs)"
        if [[ -n "$offered" ]] && at_least "$offered" "$NODE_AT_LEAST"; then install_packages nodejs; fi
    fi
    local version
    version="$(node_version)"
    if [[ -z "$version" ]]; then
        missing+=("Node.js $NODE_AT_LEAST or newer, with npm: https://nodejs.org/en/download")
    elif ! at_least "$version" "$NODE_AT_LEAST"; then
        missing+=("Node.js $NODE_AT_LEAST or newer (this is $version), with npm: https://nodejs.org/en/download")
    fi
    if [[ -n "$version" ]] && ! have npm && can_install; then install_packages npm; fi
    if [[ -n "$version" ]] && ! have npm; then missing+=("npm, which comes with Node.js: https://nodejs.org/en/download"); fi
}

# The hub is run with the official Python client as well.
need_python() {
    if ! python3 -m ensurepip --version >/dev/null 2>&1 && can_install; then install_packages python3 python3-venv; fi
    python3 -m ensurepip --version >/dev/null 2>&1 || missing+=("Python 3.9 or newer with venv: apt-get install python3 python3-venv")
}

java_version() {
    local java=java
    [[ -z "${JAVA_HOME:-}" ]] || java="$JAVA_HOME/bin/java"
    "$java" -version 2>&1 | sed -n 's/.* version "\([0-9.]*\).*/\1/p' || true
}

# Kafka and Debezium run on Java; Maven fetches them.
need_java() {
    if [[ -z "$(java_version)" ]] && can_install; then install_packages openjdk-17-jre-headless || install_packages default-jre-headless; fi
    if ! have mvn && can_install; then install_packages maven; fi
    local version
    version="$(java_version)"
    if [[ -z "$version" ]]; then
        missing+=("Java $JAVA_AT_LEAST or newer: apt-get install openjdk-17-jre-headless, or brew install openjdk")
    elif ! at_least "$version" "$JAVA_AT_LEAST"; then
        missing+=("Java $JAVA_AT_LEAST or newer (this is $version): apt-get install openjdk-17-jre-headless, or JAVA_HOME naming one")
    fi
    have mvn || missing+=("Maven: apt-get install maven, or brew install maven")
}

find_chromium() {
    local name
    for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable chrome \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" "/Applications/Chromium.app/Contents/MacOS/Chromium"; do
        # Ubuntu's package is a script that only points at a snap, so the version is asked for.
        if [[ -n "$name" ]] && have "$name" && "$name" --version >/dev/null 2>&1; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# Leaves its path in CHROMIUM.
need_chromium() {
    if ! CHROMIUM="$(find_chromium)" && can_install; then
        install_packages chromium fonts-dejavu-core || true
        CHROMIUM="$(find_chromium)" || true
    fi
    if [[ -z "$CHROMIUM" ]]; then
        missing+=("Chromium or Chrome: apt-get install chromium, or CHROMIUM=/path/to/it")
    fi
    export CHROMIUM
}

# To be called after the checks: names everything that is missing and ends.
stop_if_missing() {
    [[ ${#missing[@]} == 0 ]] && return
    printf 'error: this is missing:\n' >&2
    printf '  - %s\n' "${missing[@]}" >&2
    exit 1
}

# Where cargo puts what it builds, whoever configured that and how.
target_directory() {
    cargo metadata --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
