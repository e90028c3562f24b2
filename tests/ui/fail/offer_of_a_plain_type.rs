use easyremote::functions;

struct Add;

fn main() {
    let _ = functions![Add];
}
