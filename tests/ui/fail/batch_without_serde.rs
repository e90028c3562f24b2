use easyremote::remote;

struct Image;

#[remote(batch)]
fn labels(images: Vec<Image>) -> Vec<String> {
    images.iter().map(|_| String::new()).collect()
}

#[remote(batch)]
fn images(labels: Vec<String>) -> Vec<Image> {
    labels.iter().map(|_| Image).collect()
}

fn main() {}
