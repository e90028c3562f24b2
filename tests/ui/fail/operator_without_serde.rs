use easyremote::remote;

struct Reading(f64);
struct Celsius(f64);

#[remote(operator)]
fn hot(reading: Reading) -> Option<Celsius> {
    Some(Celsius(reading.0))
}

fn main() {}
