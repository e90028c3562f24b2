use easyremote::remote;

#[remote]
fn print(value: impl ToString) -> String {
    value.to_string()
}

fn main() {}
