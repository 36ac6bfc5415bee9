//! Bundles the client (`client/`) and writes the table of its files that `src/assets.rs` embeds.
//!
//! Runs `npm ci` only when the lockfile differs from the one installed, and the bundler only when a source changed.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

const CLIENT: &str = "client";
const NEEDED: &str = "The page's client is bundled with Node.js: install Node.js 20 or newer with npm \
                      (https://nodejs.org, or your system's packages `nodejs` and `npm`), then build again.";

fn main() -> ExitCode {
    for source in ["src", "styles", "static", "build.mjs", "package.json", "package-lock.json", "tsconfig.json"] {
        println!("cargo::rerun-if-changed={CLIENT}/{source}");
    }
    match bundle() {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("cargo::error={}", reason.replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}

fn bundle() -> Result<(), String> {
    check_node()?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?).join("client");
    install()?;
    run("npm run build", Command::new("npm").args(["run", "--silent", "build", "--"]).arg(&out).current_dir(CLIENT))?;
    write_table(&out).map_err(|error| format!("the table of the client's files could not be written: {error}"))
}

fn check_node() -> Result<(), String> {
    let answer = Command::new("node").arg("--version").output();
    let version = answer.map_err(|_| format!("`node` was not found. {NEEDED}"))?.stdout;
    let version = String::from_utf8_lossy(&version).trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next().and_then(|major| major.parse().ok());
    match major {
        Some(20_u32..) => Ok(()),
        _ => Err(format!("Node.js {version} is too old. {NEEDED}")),
    }
}

/// The lockfile that is installed is kept beside what it installed.
fn install() -> Result<(), String> {
    let installed = Path::new(CLIENT).join("node_modules/.roomcast-lock.json");
    let wanted =
        fs::read(Path::new(CLIENT).join("package-lock.json")).map_err(|error| format!("no lockfile: {error}"))?;
    if fs::read(&installed).is_ok_and(|lock| lock == wanted) {
        return Ok(());
    }
    run("npm ci", Command::new("npm").args(["ci", "--silent", "--no-audit", "--no-fund"]).current_dir(CLIENT))?;
    fs::write(&installed, wanted).map_err(|error| format!("{} could not be written: {error}", installed.display()))
}

fn run(what: &str, command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => format!("`npm` was not found. {NEEDED}"),
        _ => format!("`{what}` could not be started: {error}"),
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    Err(format!("`{what}` in web/client failed ({}): {}", output.status, said.trim()))
}

/// One line for each file: its plain name, its hashed name, its bytes, the same bytes packed.
fn write_table(out: &Path) -> io::Result<()> {
    let manifest: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&fs::read(out.join("manifest.json"))?).map_err(io::Error::other)?;
    let quoted = |name: &str| format!("{:?}", out.join(name).to_string_lossy());
    let rows: Vec<String> = manifest
        .iter()
        .map(|(plain, hashed)| {
            let name = hashed.as_str().unwrap_or_default();
            let (bytes, gzip) = (quoted(name), quoted(&format!("{name}.gz")));
            format!("Asset {{ plain: {plain:?}, name: {name:?}, bytes: include_bytes!({bytes}), gzip: include_bytes!({gzip}) }}")
        })
        .collect();
    let table = format!("&[{}]\n", rows.join(",\n"));
    fs::write(out.join("table.rs"), table)
}
