//! Migrations are compiled into the program: a changed one must rebuild it.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
