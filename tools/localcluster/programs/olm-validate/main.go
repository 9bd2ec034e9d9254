// olm-validate checks a bundle of the Operator Lifecycle Manager as `operator-sdk bundle validate` does: by the default
// validators of github.com/operator-framework/api, with those of good practices. It prints each finding, and ends with 1
// where one is an error.
package main

import (
	"fmt"
	"os"

	"github.com/operator-framework/api/pkg/manifests"
	"github.com/operator-framework/api/pkg/validation"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: olm-validate FOLDER")
		os.Exit(2)
	}
	bundle, err := manifests.GetBundleFromDir(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
	objects := bundle.ObjectsToValidate()
	checks := append(validation.DefaultBundleValidators, validation.GoodPracticesValidator)
	failed := false
	for _, result := range checks.Validate(objects...) {
		for _, warning := range result.Warnings {
			fmt.Println("warning:", warning.Detail, warning.Field)
		}
		for _, problem := range result.Errors {
			fmt.Println("error:", problem.Detail, problem.Field)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}
