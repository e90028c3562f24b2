//! Turns the arguments of many calls into one list per argument.

/// A tuple of arguments that a function can take as one list per argument.
// Of any types: those that cannot be arguments are reported once, elsewhere.
pub trait Columns: Sized + Send + 'static {
    /// A tuple of lists, one for each argument.
    type Lists: Send + 'static;

    /// Moves the arguments of several calls into lists. Entry `n` of each list is of call `n`.
    fn columns(rows: Vec<Self>) -> Self::Lists;
}

/// Implements [`Columns`] for each prefix of the names and indices.
macro_rules! columns {
    ([$($name:ident $n:tt)*] $next:ident $next_n:tt $($rest:tt)*) => {
        columns!(@implement $($name $n)*);
        columns!([$($name $n)* $next $next_n] $($rest)*);
    };
    ([$($name:ident $n:tt)*]) => {
        columns!(@implement $($name $n)*);
    };
    (@implement $($name:ident $n:tt)*) => {
        impl<$($name: Send + 'static),*> Columns for ($($name,)*) {
            type Lists = ($(Vec<$name>,)*);

            #[allow(clippy::unused_unit)]
            fn columns(rows: Vec<Self>) -> Self::Lists {
                // The empty tuple has no column: it changes no list and reads no row.
                #[allow(unused_mut)]
                let mut lists = ($(Vec::<$name>::with_capacity(rows.len()),)*);
                #[allow(unused_variables)]
                for row in rows {
                    $(lists.$n.push(row.$n);)*
                }
                lists
            }
        }
    };
}

columns!([] A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7 I 8 J 9 K 10 L 11 M 12 N 13 O 14 P 15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_argument_becomes_a_list_in_the_order_of_the_calls() {
        let rows = (0..5_u64).map(|n| (n, n.to_string(), n % 2 == 0)).collect();
        let (numbers, texts, even) = Columns::columns(rows);
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
        assert_eq!(texts, ["0", "1", "2", "3", "4"]);
        assert_eq!(even, [true, false, true, false, true]);
    }
}
