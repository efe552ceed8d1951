//! Lets a build with the feature `duckdb` find at run time the library that it was linked with.

fn main() {
    println!("cargo:rerun-if-env-changed=DUCKDB_LIB_DIR");
    if let (Some(_), Ok(folder)) =
        (std::env::var_os("CARGO_FEATURE_DUCKDB"), std::env::var("DUCKDB_LIB_DIR"))
    {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
    }
}
