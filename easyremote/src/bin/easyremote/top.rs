//! `easyremote top`: nodes, functions and the gateway's figures, as they change.

mod reading;
mod view;

use std::time::Duration;

use easyremote::{Client, ErrorKind, Options};

use crate::connect::dial_options;
use crate::exit::Failure;
use crate::options::{CommonOptions, TopOptions};
use crate::output::Output;
use crate::screen::{Key, Screen};

use self::reading::{Rates, Reading};
use self::view::View;

/// Shows the figures until a key ends it; where there is no terminal, or with `--once`, once.
pub(crate) async fn top(
    common: &CommonOptions,
    top: &TopOptions,
    output: &Output,
) -> Result<(), Failure> {
    let client = connect(common).await?;
    // A gateway that hangs is shown as one, and not waited for.
    let client = client.with(Options::new().timeout(common.connect_timeout));
    if top.once || (!output.is_terminal() && !output.json) {
        let reading = Reading::take(&client).await?;
        return match output.json {
            true => output.document(&reading.to_json()).await,
            false => output.text(view::text(&reading)).await,
        };
    }
    match output.json {
        true => lines(&client, top.interval, output).await,
        false => screen(&client, top.interval, output).await,
    }
}

/// Connects as an admin, who may read the figures of the gateway, or as a client.
async fn connect(common: &CommonOptions) -> Result<Client, Failure> {
    let client = || Client::builder(&common.gateway).dial(dial_options(common));
    match client().admin().connect().await {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::PermissionDenied | ErrorKind::Unauthenticated
            ) =>
        {
            Ok(client().connect().await?)
        }
        connected => Ok(connected?),
    }
}

/// Writes a document at each interval.
async fn lines(client: &Client, interval: Duration, output: &Output) -> Result<(), Failure> {
    let mut looks = tokio::time::interval(interval);
    loop {
        looks.tick().await;
        output.document(&Reading::take(client).await?.to_json()).await?;
    }
}

/// Draws until a key ends it.
async fn screen(client: &Client, interval: Duration, output: &Output) -> Result<(), Failure> {
    let mut view = View::new(output.has_colour());
    let mut rates = Rates::default();
    let mut looks = tokio::time::interval(interval);
    let mut screen = Screen::open()?;
    loop {
        screen.draw(|frame| view.render(frame))?;
        tokio::select! {
            key = screen.key() => match key? {
                Key::Quit => return Ok(()),
                key => view.press(key),
            },
            reading = async {
                looks.tick().await;
                Reading::take(client).await
            } => match reading {
                Ok(reading) => {
                    let changes = rates.changes(&reading);
                    view.show(reading, changes);
                }
                // Shown beside the last figures: the client dials again by itself.
                Err(error) => view.fail(error.to_string()),
            },
        }
    }
}
