//! Calls of programs that change a schema, in whatever way they are written.

use serde_json::{Value, json};
use tidegate::cli::lint::text;

use super::{deployment, found, job, linted, migration, release};

/// What is found in a step whose check runs this.
fn found_in_step(name: &str, container: Value) -> Vec<String> {
    let step = json!({"name": "half", "replicas": "50%", "checks": [job(name, container)]});
    found(json!({"steps": [step]}), json!({}))
}

#[test]
fn a_call_that_changes_a_schema_is_known_in_each_way_to_write_it() {
    for words in [
        "flyway -url=jdbc:postgresql://db/shop migrate",
        "flyway info migrate",
        "liquibase --changelog-file=all.xml update",
        "python -m alembic -c /app/alembic.ini upgrade head",
        "flask db upgrade",
        "npx -y prisma@5 migrate deploy",
        "RAILS_ENV=production bundle exec rails db:migrate",
        "bin/rake db:migrate",
        "python3 ./manage.py migrate --noinput",
        "goose -dir /migrations postgres dsn up",
        "dbmate --wait up",
        "/usr/bin/migrate -path /migrations -database dsn up 2",
        "atlas migrate apply --url dsn",
        "yarn knex migrate:latest",
        "npx sequelize-cli db:migrate",
        "typeorm -d dist/source.js migration:run",
        "sqlx migrate run --source /migrations",
        "diesel migration run",
        "php artisan migrate --force",
        "bin/console doctrine:migrations:migrate --no-interaction",
        "dotnet ef database update",
    ] {
        let late = ["error late-migration spec.steps[0].checks[0]"];
        let each: Vec<&str> = words.split(' ').collect();
        assert_eq!(found_in_step("schema", json!({"command": each})), late, "{words}");
        let text = format!("set -e\n./wait-for db:5432; {words} 2>&1 | tee log");
        assert_eq!(found_in_step("schema", json!({"args": ["/bin/sh", "-ec", text]})), late, "{words}");
    }
    // The image's own program, a container that comes first, and what is said of it.
    let first = json!({"restartPolicy": "Never", "containers": [{"args": ["smoke"]}], "initContainers": [
        {"image": "registry.internal:5000/flyway/flyway:10", "args": ["-url=jdbc:postgresql://me:s3cret@db", "migrate"]},
    ]});
    let check = json!({"name": "smoke", "job": {"template": {"spec": {"template": {"spec": first}}}}});
    let step = json!({"name": "half", "replicas": "50%", "checks": [check]});
    let told = linted(&json!([release(json!({"steps": [step]})), deployment(json!({}))]).to_string());
    insta::assert_snapshot!(text(&told), @r"
    shop.yaml: Release shop/checkout: error: spec.steps[0].checks[0]: code before its migration: check 'smoke' runs flyway migrate when pods of the new version serve already; write it in spec.migrations: with kind Expand it runs before the first pod
    1 error, 0 warnings in 1 Release
    ");
}

#[test]
fn what_only_looks_at_a_schema_or_speaks_of_one_is_no_migration() {
    for words in [
        "flyway info",
        "flyway validate",
        "flyway migrate -dryRunOutput=plan.sql",
        "liquibase update-sql",
        "liquibase status",
        "alembic current",
        "alembic upgrade head --sql",
        "prisma migrate status",
        "rails db:migrate:status",
        "rails db:abort_if_pending_migrations",
        "python manage.py migrate --check",
        "python manage.py migrate --plan",
        "goose -dir /migrations postgres dsn status",
        "dbmate status",
        "migrate -path /migrations -database dsn version",
        "atlas migrate apply --dry-run",
        "sqlx migrate info",
        "php artisan migrate:status",
        "php artisan migrate --pretend",
        "bin/console doctrine:migrations:migrate --dry-run",
        "dotnet ef migrations list",
        "echo rails db:migrate",
        "k6 run update.js",
        "wait-for --check -- smoke up",
    ] {
        let each: Vec<&str> = words.split(' ').collect();
        assert_eq!(found_in_step("schema", json!({"command": each})), [""; 0], "{words}");
        assert_eq!(found_in_step("schema", json!({"command": ["sh", "-c", words]})), [""; 0], "{words}");
    }
    let text = "# flyway migrate\nprintf 'then: flyway migrate'; smoke \"flyway migrate\"";
    assert_eq!(found_in_step("schema", json!({"command": ["sh", "-c", text]})), [""; 0]);
    // What has the name of one is still warned of.
    let named = found_in_step("check-migrations", json!({"command": ["flyway", "info"]}));
    assert_eq!(named, ["warning migration spec.steps[0].checks[0]"]);
    // Contracts that are made of paper.
    let migrations =
        json!([migration("add-contract-number", "Expand"), migration("drop-contract", "Contract")]);
    assert_eq!(found(json!({"migrations": migrations}), json!({})), [""; 0]);
}
