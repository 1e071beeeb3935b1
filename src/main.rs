fn main() {
    for (name, yaml) in tidegate::api::crds::all() { println!("# {name}\n---\n{yaml}"); }
}
