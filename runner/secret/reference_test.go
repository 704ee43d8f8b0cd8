package secret

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"buildsmith/store"
)

const (
	secretARN    = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:db-AbCdEf"
	parameterARN = "arn:aws:ssm:eu-west-1:111122223333:parameter/ci/user"
)

// TestReferences has the cases of E04 and what lies around them.
func TestReferences(t *testing.T) {
	for text, want := range map[string]Reference{
		"db":                         {ID: "db"},
		"db:":                        {ID: "db"},
		"db::":                       {ID: "db"},
		"db:::":                      {ID: "db"},
		"db:user":                    {ID: "db", JSONKey: "user"},
		"db:user:":                   {ID: "db", JSONKey: "user"},
		"db:user:AWSPREVIOUS":        {ID: "db", JSONKey: "user", Stage: "AWSPREVIOUS"},
		"db:user::3f2a":              {ID: "db", JSONKey: "user", VersionID: "3f2a"},
		"db::AWSPREVIOUS":            {ID: "db", Stage: "AWSPREVIOUS"},
		"db::AWSPREVIOUS:":           {ID: "db", Stage: "AWSPREVIOUS"},
		"db:password::11f2-0":        {ID: "db", JSONKey: "password", VersionID: "11f2-0"},
		"db:::11f2":                  {ID: "db", VersionID: "11f2"},
		"/prod/db:a b":               {ID: "/prod/db", JSONKey: "a b"},
		secretARN:                    {ID: secretARN},
		secretARN + ":":              {ID: secretARN},
		secretARN + ":user":          {ID: secretARN, JSONKey: "user"},
		secretARN + ":user:S":        {ID: secretARN, JSONKey: "user", Stage: "S"},
		secretARN + ":::3f2a":        {ID: secretARN, VersionID: "3f2a"},
		"arn":                        {ID: "arn"},
		"arnold:user":                {ID: "arnold", JSONKey: "user"},
		"x" + secretARN[:20]:         {ID: "xarn", JSONKey: "aws", Stage: "secretsmanag"},
		"ä:ö":                        {ID: "ä", JSONKey: "ö"},
		strings.Repeat("x", 4096):    {ID: strings.Repeat("x", 4096)},
		"arn:aws-cn" + secretARN[7:]: {ID: "arn:aws-cn" + secretARN[7:]},
		"arn:aws:secretsmanager" + ":r:1:secret:n:k::v": {ID: "arn:aws:secretsmanager:r:1:secret:n", JSONKey: "k", VersionID: "v"},
	} {
		if got, err := ParseReference(text); got != want || err != nil {
			t.Errorf("ParseReference(%.100q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	const write = ": write secret-id:json-key:version-stage:version-id, and leave out what is not needed"
	const noARN = " is no ARN of a secret: one looks like arn:aws:secretsmanager:<region>:<account>:secret:<name>"
	for text, want := range map[string]string{
		"db:user:AWSCURRENT:3f2a": `"db:user:AWSCURRENT:3f2a" gives both a version's stage (AWSCURRENT) and its id (3f2a): keep one`,
		"db:a:b::c":               `"db:a:b::c" has too many colons` + write,
		"db::::":                  `"db::::" has too many colons` + write,
		"":                        `"" names no secret` + write,
		":user":                   `":user" names no secret` + write,
		secretARN + ":a:b:c:d":    `"` + secretARN + `:a:b:c:d" has too many colons` + write,
		secretARN + ":a:b:c":      `"` + secretARN + `:a:b:c" gives both a version's stage (b) and its id (c): keep one`,
		"arn:":                    `"arn:"` + noARN,
		"arn:aws:secretsmanager:eu-west-1:1:secret":   `"arn:aws:secretsmanager:eu-west-1:1:secret"` + noARN,
		"arn:aws:secretsmanager:eu-west-1:1:secret:":  `"arn:aws:secretsmanager:eu-west-1:1:secret:"` + noARN,
		"arn:aws:secretsmanager:eu-west-1:1:policy:x": `"arn:aws:secretsmanager:eu-west-1:1:policy:x"` + noARN,
		"arn:aws:ssm:eu-west-1:1:parameter/x:y:z":     `"arn:aws:ssm:eu-west-1:1:parameter/x:y:z"` + noARN,
		strings.Repeat("x", 4097):                     `"` + strings.Repeat("x", 50) + `"... is too long for a reference, or holds a NUL byte`,
		"a\x00":                                       `"a\x00"... is too long for a reference, or holds a NUL byte`,
	} {
		if got, err := ParseReference(text); !errors.Is(err, ErrReference) || err.Error() != want || got != (Reference{}) || !Authors(err) {
			t.Errorf("ParseReference(%.100q) = %+v, %v, want %s", text, got, err, want)
		}
	}
}

func TestParameters(t *testing.T) {
	for text, want := range map[string]Parameter{
		"user":                    {Name: "user"},
		"/ci/registry/user":       {Name: "/ci/registry/user"},
		"/ci/user:3":              {Name: "/ci/user", Version: "3"},
		"/ci/user:stable":         {Name: "/ci/user", Label: "stable"},
		"/ci/user:3rd":            {Name: "/ci/user", Label: "3rd"},
		parameterARN:              {Name: parameterARN},
		parameterARN + ":12":      {Name: parameterARN, Version: "12"},
		parameterARN + ":stable":  {Name: parameterARN, Label: "stable"},
		strings.Repeat("x", 4096): {Name: strings.Repeat("x", 4096)},
	} {
		if got, err := ParseParameter(text); got != want || err != nil {
			t.Errorf("ParseParameter(%.100q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
	const noName = " is no name of a parameter: one colon may stand in it, with a version's number or a label behind it"
	const noARN = " is no ARN of a parameter: one looks like arn:aws:ssm:<region>:<account>:parameter/<name>"
	for text, want := range map[string]string{
		"":                                  `"" names no parameter`,
		":3":                                `":3" names no parameter`,
		"a:":                                `"a:"` + noName,
		"a:1:2":                             `"a:1:2"` + noName,
		parameterARN + ":1:2":               `"` + parameterARN + `:1:2"` + noName,
		"arn:aws:ssm:eu-west-1:1:x/y":       `"arn:aws:ssm:eu-west-1:1:x/y"` + noARN,
		"arn:aws:ssm:eu-west-1:1:parameter": `"arn:aws:ssm:eu-west-1:1:parameter"` + noARN,
		"arn:aws:ssm:r:1:parameter/":        `"arn:aws:ssm:r:1:parameter/"` + noARN,
		"arn:x":                             `"arn:x"` + noARN,
		secretARN:                           `"` + secretARN + `"` + noARN,
		"a\x00":                             `"a\x00"... is too long for a parameter's name, or holds a NUL byte`,
		strings.Repeat("x", 4097):           `"` + strings.Repeat("x", 50) + `"... is too long for a parameter's name, or holds a NUL byte`,
	} {
		if got, err := ParseParameter(text); !errors.Is(err, ErrReference) || err.Error() != want || got != (Parameter{}) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("ParseParameter(%.100q) = %+v, %v, want %s", text, got, err, want)
		}
	}
}

// FuzzParseReference holds what was read to what was written.
func FuzzParseReference(f *testing.F) {
	for _, text := range []string{"db", "db:user:AWSPREVIOUS", "db:user::3f2a", "db:a:b:c", "::::", secretARN, secretARN + ":user::v", parameterARN, parameterARN + ":3", "arn:"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseReference(text)
		switch {
		case err != nil:
			if !errors.Is(err, ErrReference) || r != (Reference{}) || len(err.Error()) > 2000 {
				t.Errorf("%q: %+v, %v", text, r, err)
			}
		default:
			written := strings.Join([]string{r.ID, r.JSONKey, r.Stage, r.VersionID}, ":")
			if !strings.HasPrefix(written, text) || strings.Trim(written[len(text):], ":") != "" || r.ID == "" || r.Stage != "" && r.VersionID != "" {
				t.Errorf("%q became %+v", text, r)
			}
			if again, err := ParseReference(written); r.ID != "arn" && (again != r || err != nil) { // arn: begins an ARN
				t.Errorf("%q became %+v, and that %+v, %v", text, r, again, err)
			}
		}
		p, err := ParseParameter(text)
		switch {
		case err != nil:
			if !errors.Is(err, ErrReference) || p != (Parameter{}) {
				t.Errorf("%q: %+v, %v", text, p, err)
			}
		case p.Name+strings.TrimSuffix(":"+p.Version+p.Label, ":") != text || p.Version != "" && p.Label != "":
			t.Errorf("%q became %+v", text, p)
		}
		for _, kind := range []string{store.ParameterStore, store.SecretsManager} {
			if src, _, err := sourceOf(Wanted{kind, text}); err == nil {
				if names, _ := src.names(); len(names) == 0 || names[0] == "" {
					t.Errorf("%s %q has the names %q", kind, text, names)
				}
				src.region()
				src.which()
			}
		}
	})
}
