use super::*;

fn scene() -> Scene {
    Scene::open().issued(10).lag(4).stored(6).with(|scene| {
        let routing =
            json!({"urlTemplate": "https://c.example/{name}/issue", "httpRoute": {"parentRefs": [{"name": "public"}]}});
        scene.class.spec.routing = serde_json::from_value(routing).unwrap();
    })
}

fn with(scene: &Scene, route: Option<Report>) -> CouponCampaignStatus {
    status_while(scene, 3, None, None, NOW, Lasting { route, ..Lasting::default() })
}

/// Wrong: users from outside meet a 404, and the campaign is Ready; or an Ingress of which nobody ever says anything is a fault for good.
#[test]
fn a_route_that_is_refused_is_said_by_ready_and_one_without_an_answer_is_not() {
    use ConditionType::{Open, Ready, RouteReady, WindowServed};
    for (what, route, said, ready) in [
        ("taken", Some(Report::yes(RouteReady, "RouteAccepted", "")), "True/RouteAccepted", "True/AllChecksPassed"),
        (
            "unanswered",
            Some(Report::unknown(RouteReady, "RouteUnanswered", "")),
            "Unknown/RouteUnanswered",
            "True/AllChecksPassed",
        ),
        (
            "refused",
            Some(Report::no(RouteReady, "RouteNotAccepted", "x")),
            "False/RouteNotAccepted",
            "False/RouteNotAccepted",
        ),
        ("not made yet", None, "", "True/AllChecksPassed"),
    ] {
        let status = with(&scene(), route);
        assert_eq!((says(&status, RouteReady).as_str(), says(&status, Ready).as_str()), (said, ready), "{what}");
        // Who comes another way gets coupons, and what a Gateway says is not what users meet.
        assert_eq!(says(&status, Open), "True/WindowOpen", "{what}");
        assert_eq!(says(&status, WindowServed), "", "{what}");
    }
}

#[test]
fn what_is_broken_beside_a_route_is_said_first() {
    let refused = Report::no(ConditionType::RouteReady, "RouteNotAccepted", "x");
    let status = with(&scene().database_away(), Some(refused));
    assert_eq!(says(&status, ConditionType::Ready), "False/DatabaseUnavailable");
}

/// Wrong: a class that asks for no route any more leaves what was said of the last one.
#[test]
fn nothing_is_said_where_no_route_is_asked_for() {
    let refused = || Some(Report::no(ConditionType::RouteReady, "RouteNotAccepted", "x"));
    let mut scene = scene();
    scene.campaign.status = Some(with(&scene, refused()));
    scene.class.spec.routing.http_route = None;
    assert_eq!(says(&with(&scene, refused()), ConditionType::RouteReady), "");
}

/// Wrong: that the cluster has no HTTPRoutes is said when the window opens, and not when the class is looked at.
#[test]
fn what_is_wrong_with_the_class_is_said_before_there_is_a_route() {
    let missing = Report::no(ConditionType::RoutingValid, "GatewayApiMissing", "install it");
    let measured = Measured { routing: Some(missing), ..Measured::default() };
    for (what, route, expected) in [
        ("not made yet", None, "False/GatewayApiMissing"),
        (
            "nothing known",
            Some(Report::unknown(ConditionType::RouteReady, "KubernetesError", "")),
            "False/GatewayApiMissing",
        ),
        (
            "there by now, and not looked at",
            Some(Report::unknown(ConditionType::RouteReady, "RouteUnanswered", "")),
            "Unknown/RouteUnanswered",
        ),
        ("there by now", Some(Report::yes(ConditionType::RouteReady, "RouteAccepted", "")), "True/RouteAccepted"),
    ] {
        let scene = scene();
        let lasting = Lasting { route, measured: Some(&measured), ..Lasting::default() };
        let status = status_while(&scene, 3, None, None, NOW, lasting);
        assert_eq!(says(&status, ConditionType::RouteReady), expected, "{what}");
    }
}
