//! The command-line tool, as processes against a real gateway and node.

mod attach;
mod calls;
mod doctor;
mod gateway;
mod generate;
mod jobs;
mod lists;
mod pages;
mod screens;
mod streams;
mod tool;
mod values;
