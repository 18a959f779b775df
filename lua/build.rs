//! Compiles the C sources of Lua.

fn main() {
    let mut build = cc::Build::new();
    build.warnings(false).define("LUA_USE_POSIX", None).opt_level(2);
    let mut sources: Vec<_> = std::fs::read_dir("c")
        .expect("the sources are part of the package")
        .map(|entry| entry.expect("a readable directory").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "c"))
        .collect();
    sources.sort();
    build.files(sources).compile("skuld_lua");
    println!("cargo:rerun-if-changed=c");
}
