package bitbuckettest

import (
	"encoding/json"
	"testing"
)

func TestPick(t *testing.T) {
	whole := ok(object{"next": "n", "size": 2, "values": []object{{"id": 1, "user": object{"id": "u", "name": "x"}}, {"id": 2, "user": nil}}})
	for fields, want := range map[string]string{
		"":                       `{"next":"n","size":2,"values":[{"id":1,"user":{"id":"u","name":"x"}},{"id":2,"user":null}]}`,
		"size":                   `{"size":2}`,
		"none":                   `{}`,
		"next,values.user.name":  `{"next":"n","values":[{"user":{"name":"x"}},{"user":null}]}`,
		"values.user,values.id":  `{"values":[{"id":1,"user":{"id":"u","name":"x"}},{"id":2,"user":null}]}`,
		"values.id,values.other": `{"values":[{"id":1},{"id":2}]}`,
	} {
		got, err := json.Marshal(cloud{}.pick(whole, fields).body)
		if err != nil || string(got) != want {
			t.Errorf("%q: %s %v, want %s", fields, got, err, want)
		}
	}
	if refused := notFound("x"); (cloud{}).pick(refused, "size") != refused {
		t.Error("a refusal is had in part")
	}
}
