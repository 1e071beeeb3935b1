//! The name under which a template is kept: its Deployment's, and the first digits of its fingerprint.
//!
//! What is kept under it is not looked at here: whoever may write ControllerRevisions can put another
//! template under any name.

/// Digits of a template's fingerprint that the name has: as many as it takes that nobody finds another
/// template for the name of one that is kept.
pub const DIGITS_IN_NAME: usize = 16;
/// Letters of the Deployment's name that it has, at most: with the digits it is one that an object may have.
const LETTERS_OF_DEPLOYMENT: usize = 200;

/// Name of the ControllerRevision that keeps a template.
pub fn template_name(deployment: &str, fingerprint: &str) -> String {
    let short: String = deployment.chars().take(LETTERS_OF_DEPLOYMENT).collect();
    format!("{short}-{fingerprint:.DIGITS_IN_NAME$}")
}

/// Whether the template with this fingerprint is kept under such a name, of whichever Deployment.
pub fn is_named_after(name: &str, fingerprint: &str) -> bool {
    let digits = name.rsplit_once('-').map_or("", |(_, digits)| digits);
    digits.len() == DIGITS_IN_NAME && fingerprint.starts_with(digits)
}

/// Whose template a name says that it is. The longest names of Deployments are cut off in it.
pub fn deployment_in(name: &str) -> Option<&str> {
    name.rsplit_once('-').map(|(deployment, _)| deployment)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINGERPRINT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_name_says_whose_template_it_is_and_which() {
        let name = template_name("shop-eu", FINGERPRINT);
        assert_eq!(name, "shop-eu-0123456789abcdef");
        assert_eq!(deployment_in(&name), Some("shop-eu"));
        assert!(is_named_after(&name, FINGERPRINT));
    }

    #[test]
    fn the_longest_names_of_deployments_are_cut_off() {
        let name = template_name(&"s".repeat(253), FINGERPRINT);
        let cut_off = "s".repeat(200);
        assert_eq!(name, format!("{cut_off}-0123456789abcdef"));
        assert_eq!(deployment_in(&name), Some(cut_off.as_str()));
        assert!(is_named_after(&name, FINGERPRINT));
    }

    #[test]
    fn a_name_with_other_digits_or_fewer_or_more_is_none_of_this_template() {
        let others = [
            "shop-0123456789abcde0",
            "shop-0123456789abcde",
            "shop-0123456789abcdef0",
            "shop-",
            "shop",
            "0123456789abcdef",
            "shop0123456789abcdef",
            "",
        ];
        for name in others {
            assert!(!is_named_after(name, FINGERPRINT), "{name}");
        }
    }

    #[test]
    fn a_name_without_digits_is_no_deployments() {
        assert_eq!(deployment_in("shop"), None);
        assert_eq!(deployment_in(""), None);
    }
}
