package mesh

import "testing"

func TestAccessRuleAllows(t *testing.T) {
	team := AccessRule{Mesh: "a", Types: []string{"*"}, Access: []string{"*"}}
	for name, test := range map[string]struct {
		rule AccessRule
		want Access
		ok   bool
	}{
		"its mesh":          {team, Access{AccessUpdate, RetryKind, "a", "r"}, true},
		"its Mesh resource": {team, Access{AccessRead, MeshKind, "a", "a"}, true},
		"another mesh":      {team, Access{AccessRead, RetryKind, "b", "r"}, false},
		"all meshes":        {team, Access{AccessRead, RetryKind, "", ""}, false},
		"its secrets":       {team, Access{AccessRead, SecretKind, "a", "s"}, false},
		"its tokens":        {team, Access{AccessGenerateDataplane, nil, "a", ""}, false},
		"plans":             {team, Access{AccessInspect, nil, "a", ""}, true},
		"secrets by name": {
			AccessRule{Mesh: "a", Types: []string{"Secret"}, Access: []string{AccessRead}}, Access{AccessRead, SecretKind, "a", "s"}, true,
		},
		"another access": {
			AccessRule{Mesh: "*", Types: []string{"*"}, Access: []string{AccessRead}}, Access{AccessDelete, RetryKind, "a", "r"}, false,
		},
		"every mesh": {
			AccessRule{Mesh: "*", Types: []string{"Retry"}, Access: []string{AccessRead}}, Access{AccessRead, RetryKind, "", ""}, true,
		},
		"another kind": {
			AccessRule{Mesh: "*", Types: []string{"Retry"}, Access: []string{AccessRead}}, Access{AccessRead, TimeoutKind, "a", ""}, false,
		},
		"one name": {
			AccessRule{Mesh: "a", Types: []string{"Retry"}, Names: []string{"r"}, Access: []string{"*"}}, Access{AccessUpdate, RetryKind, "a", "r"}, true,
		},
		"another name": {
			AccessRule{Mesh: "a", Types: []string{"Retry"}, Names: []string{"r"}, Access: []string{"*"}}, Access{AccessUpdate, RetryKind, "a", "q"}, false,
		},
		"a list, with names": {
			AccessRule{Mesh: "a", Types: []string{"Retry"}, Names: []string{"r"}, Access: []string{"*"}}, Access{AccessRead, RetryKind, "a", ""}, false,
		},
		"an empty rule": {AccessRule{}, Access{}, false},
	} {
		if got := test.rule.Allows(test.want); got != test.ok {
			t.Errorf("%s: %t, want %t", name, got, test.ok)
		}
	}
}

func TestAccessRoleFaults(t *testing.T) {
	role := AccessRole{Rules: []AccessRule{
		{Mesh: "", Types: []string{"Retyr"}, Names: []string{""}, Access: []string{"WRITE"}},
		{Mesh: "a", Access: []string{AccessRead, AccessGenerateUser}},
		{Mesh: "*"},
	}}
	fields := map[string]bool{}
	for _, v := range role.Validate() {
		fields[v.Field] = true
	}
	for _, want := range []string{
		"rules[0].mesh", "rules[0].types[0]", "rules[0].names[0]", "rules[0].access[0]", "rules[1].access[1]", "rules[1].types", "rules[2].access",
	} {
		if !fields[want] {
			t.Errorf("nothing is said of %s: %v", want, fields)
		}
	}
	binding := AccessRoleBinding{Subjects: []AccessSubject{{Type: "Person"}}, Roles: []string{"A B"}}
	if got := len(binding.Validate()); got != 3 {
		t.Errorf("%d faults of the binding, want 3: %v", got, binding.Validate())
	}
	good := AccessRoleBinding{Subjects: []AccessSubject{{SubjectGroup, "ops"}}, Roles: []string{"admin"}}
	if good.Validate() != nil || !good.Binds("joe", []string{"dev", "ops"}) || good.Binds("ops", nil) {
		t.Errorf("a group is not bound as it should be")
	}
}
