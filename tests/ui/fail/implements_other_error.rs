use easyremote::remote;

mod api {
    #[super::remote]
    pub fn divide(a: i64, b: i64) -> Result<i64, String>;
    #[super::remote]
    pub fn add(a: i64, b: i64) -> i64;
}

#[remote(implements = api::divide)]
fn divide(a: i64, b: i64) -> Result<i64, u8> {
    a.checked_div(b).ok_or(0)
}

#[remote(implements = api::add)]
fn add(a: i64, b: i64) -> Result<i64, String> {
    a.checked_add(b).ok_or_else(String::new)
}

#[remote(implements = api::divide, err = "display", stub = DivideAsText)]
fn divide_as_text(a: i64, b: i64) -> Result<i64, String> {
    a.checked_div(b).ok_or_else(String::new)
}

fn main() {}
